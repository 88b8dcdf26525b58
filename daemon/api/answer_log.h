// What has become of the answers of this API: those that run, and for a while those that have ended. What
// GET /v1/requests/{id} tells, to the client whose answers they are.
//
// Its memory is bounded: of ended ones the last kEndedMax are kept, none longer than kEndedKept_ns. Once it
// is full, a client that has kEndedOfClientMax or more of them makes room for its next one among its own, so
// that a busy one does not take the others'. What was refused is not kept: its client has the whole story.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

enum class AnswerState : uint8_t {
  kQueued,     // not all of it has been accepted
  kRunning,    // all of it has
  kFinished,   // told whole
  kFailed,     // `error` says why
  kCancelled,  // the client left, or somebody cancelled it
  kCount,
};
std::string_view answer_state_name(AnswerState state);

struct AnswerStatus {
  RequestId id = 0;  // of the first of its requests; X-Request-Id tells it
  AnswerState state = AnswerState::kQueued;
  std::string client;
  std::string endpoint;  // "chat", "completions", "embeddings"
  std::string model;
  ipc::Class service_class = ipc::Class::kNormal;  // in force
  int64_t created_unix = 0;
  ipc::Usage usage;              // so far
  uint64_t truncated_bytes = 0;  // of its prompts, left out with its client's consent
  using FinishReasons = boost::container::small_vector<std::optional<ipc::FinishReason>, 8>;
  FinishReasons finish_reasons;  // by choice; none: it has not ended
  std::optional<Error> error;
  uint64_t started_ns = 0;
  uint64_t accepted_ns = 0;     // the last of its requests; 0: not yet, here and below
  uint64_t first_token_ns = 0;  // of any choice
  uint64_t ended_ns = 0;
};

// An answer that has not ended. Its owner takes it out of the log before it goes.
class RunningAnswer {
 public:
  virtual AnswerStatus status() const = 0;
  // Ends it as failed with kCancelled.
  virtual void cancel() = 0;

 protected:
  ~RunningAnswer() = default;
};

class AnswerLog {
 public:
  static constexpr size_t kEndedMax = 1024;
  static constexpr size_t kEndedOfClientMax = kEndedMax / 4;
  static constexpr uint64_t kEndedKept_ns = 60'000'000'000;

  // Borrowed until end() or drop() of the same id.
  void add(RequestId id, RunningAnswer& answer) { running_.emplace(id, &answer); }
  // It has ended: `status` is the last word on it.
  void end(AnswerStatus status);
  void drop(RequestId id) { running_.erase(id); }

  // Nothing for an id that is unknown, too long ago, or another client's.
  std::optional<AnswerStatus> find(RequestId id, std::string_view client, uint64_t now_ns) const;
  // The same; null as well for one that has ended.
  RunningAnswer* find_running(RequestId id, std::string_view client) const;

  size_t ended() const { return ended_.size(); }

 private:
  void make_room(std::string_view client);

  std::unordered_map<RequestId, RunningAnswer*> running_;
  // Close together: among the buffers of answers they would keep those buffers' pages.
  std::pmr::unsynchronized_pool_resource memory_;
  std::pmr::deque<AnswerStatus> ended_{&memory_};  // the oldest first
};

}  // namespace deepserve::daemon
