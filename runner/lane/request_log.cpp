#include "runner/lane/request_log.h"

#include <algorithm>
#include <cstring>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kEntryBytes = 256;  // what a request costs beside its bodies

struct EventHeader {
  uint32_t bytes = 0;
  ipc::MessageType type{};
  RequestLog::For whom = RequestLog::For::kAll;
  uint8_t reserved = 0;
};
static_assert(sizeof(EventHeader) == 8);

void put_event(std::vector<std::byte>& events, ipc::MessageType type, std::span<const std::byte> body,
               RequestLog::For whom) {
  const EventHeader header{static_cast<uint32_t>(body.size()), type, whom};
  const size_t before = events.size();
  events.resize(before + sizeof header + body.size());
  std::memcpy(events.data() + before, &header, sizeof header);
  if (!body.empty()) std::memcpy(events.data() + before + sizeof header, body.data(), body.size());
}

EventHeader header_at(const std::vector<std::byte>& events, size_t offset) {
  EventHeader header;
  CHECK(offset + sizeof header <= events.size());
  std::memcpy(&header, events.data() + offset, sizeof header);
  return header;
}

std::span<const std::byte> body_at(const std::vector<std::byte>& events, size_t offset) {
  return std::span<const std::byte>(events).subspan(offset + sizeof(EventHeader),
                                                    header_at(events, offset).bytes);
}

// The request without what makes it large: whose it is and what the answer was to be.
std::vector<std::byte> without_prompt(std::span<const std::byte> body) {
  auto submit = ipc::Submit::decode(body);
  CHECK(submit.has_value());  // it was decoded when it came
  submit->prompt = {};
  submit->resumed.clear();
  return submit->encode();
}

}  // namespace

size_t RequestLog::Entry::bytes() const {
  return kEntryBytes + submit.size() + events.size() + history.size();
}

void RequestLog::grow(const Entry& entry, size_t bytes_before) {
  bytes_ += entry.bytes() - bytes_before;
}

bool RequestLog::begin(ipc::RequestId request, std::span<const std::byte> submit, bool tellable) {
  const auto [place, is_new] = entries_.try_emplace(request);
  if (!is_new) return false;
  Entry& entry = place->second;
  entry.submit.assign(submit.begin(), submit.end());
  bytes_ += entry.bytes();
  entry.tellable = tellable;
  if (!tellable) cut(request, entry);
  return true;
}

bool RequestLog::append(ipc::RequestId request, ipc::MessageType type, std::span<const std::byte> body,
                        For whom) {
  const auto found = entries_.find(request);
  if (found == entries_.end() || found->second.cut) return false;
  Entry& entry = found->second;
  const size_t before = entry.bytes();
  const bool early = whom == For::kNextOnly && !entry.accepted;
  put_event(early ? entry.history : entry.events, type, body, whom);
  if (type == ipc::MessageType::kAccepted) {
    entry.accepted = true;
    entry.events.insert(entry.events.end(), entry.history.begin(), entry.history.end());
    entry.history = {};
  }
  grow(entry, before);
  skip_untellable(entry);
  return true;
}

// What only the next dsd is to hear is passed over.
void RequestLog::skip_untellable(Entry& entry) {
  if (entry.all_due) return;
  while (entry.told < entry.events.size()) {
    const auto header = header_at(entry.events, entry.told);
    if (header.whom == For::kAll) return;
    entry.told += sizeof header + header.bytes;
  }
}

void RequestLog::end(ipc::RequestId request, bool wanted) {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return;
  found->second.ended = true;
  found->second.wanted = wanted;
}

void RequestLog::acknowledge(ipc::RequestId request, uint64_t now_ns) {
  const auto found = entries_.find(request);
  if (found == entries_.end() || !found->second.ended) return;
  Entry& entry = found->second;
  if (!entry.wanted || entry.cut) return erase(found);
  if (entry.acknowledged_ns != 0) return;  // by an earlier dsd: the window is not opened twice
  entry.acknowledged_ns = now_ns;
  acknowledged_.push_back(request);
  acknowledged_bytes_ += entry.bytes();
  while (acknowledged_bytes_ > limits_.acknowledged_bytes_max) erase(entries_.find(acknowledged_.front()));
}

void RequestLog::forget_old(uint64_t now_ns) {
  while (!acknowledged_.empty()) {
    const auto oldest = entries_.find(acknowledged_.front());
    if (now_ns - std::min(now_ns, oldest->second.acknowledged_ns) < limits_.window_ns) return;
    erase(oldest);
  }
}

void RequestLog::erase(std::map<ipc::RequestId, Entry>::iterator entry) {
  CHECK(entry != entries_.end());
  const size_t bytes = entry->second.bytes();
  if (entry->second.acknowledged_ns != 0) {
    acknowledged_bytes_ -= bytes;
    acknowledged_.erase(std::find(acknowledged_.begin(), acknowledged_.end(), entry->first));
  }
  bytes_ -= bytes;
  entries_.erase(entry);
}

std::vector<RequestLog::Cut> RequestLog::keep_within_limits() {
  std::vector<Cut> cuts;
  while (bytes_ > limits_.bytes_max) {
    if (!acknowledged_.empty()) {
      erase(entries_.find(acknowledged_.front()));
      continue;
    }
    const auto largest = std::max_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return (a.second.cut ? 0 : a.second.bytes()) < (b.second.cut ? 0 : b.second.bytes());
    });
    if (largest == entries_.end() || largest->second.cut) break;  // nothing but what cannot be cut any more
    cuts.push_back(cut(largest->first, largest->second));
  }
  return cuts;
}

RequestLog::Cut RequestLog::cut(ipc::RequestId request, Entry& entry) {
  Cut result{request, {}};
  while (const auto event = next(request)) {
    result.untold.emplace_back(event->type, std::vector<std::byte>(event->body.begin(), event->body.end()));
    told(request);
  }
  const size_t before = entry.bytes();
  entry.cut = true;
  entry.submit = without_prompt(entry.submit);
  entry.events = {};
  entry.history = {};
  entry.told = 0;
  bytes_ -= before - entry.bytes();
  return result;
}

std::optional<RequestLog::Event> RequestLog::next(ipc::RequestId request) const {
  const auto found = entries_.find(request);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  if (entry.adopted_due) return Event{ipc::MessageType::kAdopted, entry.submit};
  if (entry.told >= entry.events.size()) return std::nullopt;
  return Event{header_at(entry.events, entry.told).type, body_at(entry.events, entry.told)};
}

void RequestLog::told(ipc::RequestId request) {
  Entry& entry = entries_.at(request);
  if (entry.adopted_due) {
    entry.adopted_due = false;
    return;
  }
  entry.told += sizeof(EventHeader) + header_at(entry.events, entry.told).bytes;
  if (entry.told == entry.events.size()) entry.all_due = false;
  skip_untellable(entry);
}

std::vector<ipc::RequestId> RequestLog::begin_again() {
  std::vector<ipc::RequestId> requests;
  for (auto& [request, entry] : entries_) {
    const size_t before = entry.bytes();
    if (entry.cut) {
      ipc::Failed failed;
      failed.request = request;
      failed.code = Code::kRunnerLost;
      failed.message = entry.tellable
                           ? "the daemon ended, and the answer was too much to be kept for the next one"
                           : "the daemon ended, and what an earlier runner had told of this answer (log "
                             "probabilities, an echo) went with it";
      entry.events.clear();
      put_event(entry.events, ipc::MessageType::kFailed, failed.encode(), For::kAll);
      entry.lost = true;
      entry.ended = true;
    }
    entry.told = 0;
    entry.adopted_due = true;
    entry.all_due = true;
    grow(entry, before);
    requests.push_back(request);
  }
  return requests;
}

bool RequestLog::is_over(ipc::RequestId request) const {
  const auto found = entries_.find(request);
  return found != entries_.end() && found->second.acknowledged_ns != 0;
}

bool RequestLog::is_lost(ipc::RequestId request) const {
  const auto found = entries_.find(request);
  return found != entries_.end() && found->second.lost;
}

std::vector<ipc::RequestId> RequestLog::cut_requests() const {
  std::vector<ipc::RequestId> requests;
  for (const auto& [request, entry] : entries_) {
    if (entry.cut && !entry.ended) requests.push_back(request);
  }
  return requests;
}

}  // namespace deepserve::runner
