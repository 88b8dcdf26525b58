#include "daemon/api/answer_log.h"

#include <algorithm>
#include <array>

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(AnswerState::kCount)> kStateNames = {
    "queued", "running", "finished", "failed", "cancelled"};
constexpr size_t kMessageBytesMax = 1000;  // a runner may say more, and its client was told all of it

}  // namespace

std::string_view answer_state_name(AnswerState state) {
  return kStateNames[static_cast<size_t>(state)];
}

void AnswerLog::end(AnswerStatus status) {
  running_.erase(status.id);
  const uint64_t now_ns = status.ended_ns;
  while (!ended_.empty() && ended_.front().ended_ns + kEndedKept_ns < now_ns) ended_.pop_front();
  if (ended_.size() >= kEndedMax) make_room(status.client);
  if (status.error && status.error->message.size() > kMessageBytesMax) {
    status.error->message.resize(kMessageBytesMax);
  }
  ended_.push_back(std::move(status));
}

void AnswerLog::make_room(std::string_view client) {
  const auto is_its = [client](const AnswerStatus& status) { return status.client == client; };
  const auto count = static_cast<size_t>(std::count_if(ended_.begin(), ended_.end(), is_its));
  ended_.erase(count < kEndedOfClientMax ? ended_.begin()
                                         : std::find_if(ended_.begin(), ended_.end(), is_its));
}

std::optional<AnswerStatus> AnswerLog::find(RequestId id, std::string_view client, uint64_t now_ns) const {
  if (const auto* running = find_running(id, client)) return running->status();
  const auto found = std::find_if(ended_.begin(), ended_.end(), [&](const AnswerStatus& status) {
    return status.id == id && status.client == client && status.ended_ns + kEndedKept_ns >= now_ns;
  });
  if (found == ended_.end()) return std::nullopt;
  return *found;
}

RunningAnswer* AnswerLog::find_running(RequestId id, std::string_view client) const {
  const auto found = running_.find(id);
  if (found == running_.end() || found->second->status().client != client) return nullptr;
  return found->second;
}

}  // namespace deepserve::daemon
