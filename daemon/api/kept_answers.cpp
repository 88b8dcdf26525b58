#include "daemon/api/kept_answers.h"

#include <algorithm>

#include "daemon/api/live_answer.h"

namespace deepserve::daemon {

void KeptAnswers::add(std::shared_ptr<LiveAnswer> answer) {
  const RequestId id = answer->id();
  if (answer->terms().started_ns == 0) note_begun(id);
  if (!answer->terms().key.empty()) keys_[{answer->client(), answer->terms().key}] = id;
  answers_[id] = answer;
  if (expected_) std::erase_if(*expected_, [id](const ExpectedAnswer& one) { return one.id == id; });
  std::vector<Waiting*> came;
  std::erase_if(waiting_, [&](Waiting* one) {
    const bool wants = one->wants(*answer);
    if (wants) came.push_back(one);
    return wants;
  });
  for (Waiting* one : came) one->on_arrived(answer);
}

void KeptAnswers::note_begun(RequestId id) {
  if (first_ == 0) first_ = id;
  last_ = std::max(last_, id);
}

std::shared_ptr<LiveAnswer> KeptAnswers::find_any(RequestId id) const {
  const auto found = answers_.find(id);
  return found == answers_.end() ? nullptr : found->second;
}

std::shared_ptr<LiveAnswer> KeptAnswers::find(RequestId id, std::string_view client) const {
  auto answer = find_any(id);
  return answer && answer->client() == client && !answer->is_void() ? answer : nullptr;
}

std::shared_ptr<LiveAnswer> KeptAnswers::find_key(const std::string& client, const std::string& key) const {
  const auto found = keys_.find({client, key});
  return found == keys_.end() ? nullptr : find(found->second, client);
}

bool KeptAnswers::is_gone(RequestId id, std::string_view client) const {
  return std::any_of(gone_.begin(), gone_.end(),
                     [&](const auto& one) { return one.first == id && one.second == client; });
}

bool KeptAnswers::may_wait(size_t bytes) const {
  for (const Waiting* one : waiting_) bytes += one->bytes();
  return bytes <= limits_.bytes_max;
}

void KeptAnswers::no_longer_waits(Waiting& waiting) {
  std::erase(waiting_, &waiting);
}

std::vector<ExpectedAnswer> KeptAnswers::expected_next() const {
  std::vector<ExpectedAnswer> next = expected_.value_or(std::vector<ExpectedAnswer>());
  for (const auto& [id, answer] : answers_) {
    if (!answer->is_void()) next.push_back({id, answer->client(), answer->terms().key});
  }
  return next;
}

bool KeptAnswers::may_return(RequestId id, std::string_view client) const {
  return !expected_ || std::any_of(expected_->begin(), expected_->end(), [&](const ExpectedAnswer& one) {
    return one.id == id && one.client == client;
  });
}

bool KeptAnswers::may_return_key(std::string_view client, std::string_view key) const {
  return !expected_ || std::any_of(expected_->begin(), expected_->end(), [&](const ExpectedAnswer& one) {
    return one.client == client && one.key == key;
  });
}

size_t KeptAnswers::bytes() const {
  size_t bytes = 0;
  for (const auto& [id, answer] : answers_) bytes += answer->bytes();
  return bytes;
}

bool KeptAnswers::is_over(const LiveAnswer& answer, uint64_t now_ns) const {
  if (answer.is_void()) return true;
  if (answer.readers() != 0) return false;
  if (!answer.ended() && answer.terms().outlives) return false;
  if (!answer.ended() && answer.ends_with_reader() && answer.left_ns() != 0) return true;
  const uint64_t since_ns = std::max({answer.ended_ns(), answer.left_ns(), answer.kept_since_ns()});
  return now_ns > since_ns + limits_.window_ns;
}

// The caller lets go of what was removed when nothing of ours is being walked through: that may cancel it.
std::shared_ptr<LiveAnswer> KeptAnswers::remove(RequestId id) {
  auto answer = std::move(answers_.extract(id).mapped());
  const auto key = keys_.find({answer->client(), answer->terms().key});
  if (key != keys_.end() && key->second == id) keys_.erase(key);
  if (!answer->is_void()) {
    gone_.emplace_back(id, answer->client());
    if (gone_.size() > kGoneMax) gone_.pop_front();
  }
  return answer;
}

void KeptAnswers::tick(uint64_t now_ns) {
  std::vector<std::shared_ptr<LiveAnswer>> removed;
  std::vector<RequestId> over;
  for (const auto& [id, answer] : answers_) {
    answer->tick(now_ns);
    if (is_over(*answer, now_ns)) over.push_back(id);
  }
  for (const RequestId id : over) removed.push_back(remove(id));
  make_room(removed);
}

void KeptAnswers::make_room(std::vector<std::shared_ptr<LiveAnswer>>& removed) {
  size_t total = 0;
  std::vector<std::pair<uint64_t, RequestId>> ended;    // by when
  std::vector<std::pair<uint64_t, RequestId>> running;  // by bytes
  for (const auto& [id, answer] : answers_) {
    total += answer->bytes();
    if (answer->ended()) {
      ended.emplace_back(answer->ended_ns(), id);
    } else {
      running.emplace_back(answer->bytes(), id);
    }
  }
  if (total <= limits_.bytes_max && ended.size() <= kEndedMax) return;
  std::sort(ended.begin(), ended.end());
  std::sort(running.rbegin(), running.rend());
  size_t ended_left = ended.size();
  for (const auto& [when_ns, id] : ended) {
    if (total <= limits_.bytes_max && ended_left <= kEndedMax) return;
    total -= removed.emplace_back(remove(id))->bytes();
    --ended_left;
  }
  for (const auto& [bytes, id] : running) {
    if (total <= limits_.bytes_max) return;
    total -= bytes;
    removed.emplace_back(remove(id))->stop_keeping();
  }
}

}  // namespace deepserve::daemon
