// A request's life, event by event, for `dsctl request trace`: kept while it runs and for a while after its
// end. Pure. No text of a prompt or an answer gets here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

enum class TraceKind : uint8_t {
  kArrived,     // it was taken, and queued
  kDispatched,  // a runner has its submit. `tokens`: that it had before (a replay)
  kReturned,    // the runner's lane had no room: it waits again
  kAccepted,    // the runner said so. `tokens`: of the prompt
  kFirstToken,  // the first since it was dispatched. `tokens`: all so far
  kRunnerDied,  // and it is replayed, unless the next event is its end. `text`: of what the runner died
  kAdopted,     // this dsd took it over from another one, with its runner if it has one
  kLetGo,       // its client left, or an operator cancelled it
  kFinished,    // `tokens`: all, of all choices
  kFailed,      // `text`: its code
  kRefused,     // `text`: the reason
  kCancelled,
  kCount
};
std::string_view trace_kind_name(TraceKind kind);  // "arrived", "dispatched", ...

struct TraceEvent {
  TraceKind kind = TraceKind::kArrived;
  uint64_t at_ns = 0;  // CLOCK_MONOTONIC
  std::string runner = {};
  int64_t pid = -1;
  uint32_t tokens = 0;
  std::string text = {};

  bool operator==(const TraceEvent&) const = default;
};

class RequestTrace {
 public:
  // The first half of so many stay; of the rest the last ones do.
  static constexpr size_t kEventsMax = 64;

  ipc::RequestId request = 0;
  std::string client;
  std::string model;
  std::string endpoint;
  ipc::Class service_class = ipc::Class::kNormal;

  void add(TraceEvent event);
  const std::vector<TraceEvent>& events() const { return events_; }
  uint64_t left_out() const { return left_out_; }

  std::vector<std::byte> encode() const;
  static RequestTrace decode(std::span<const std::byte> bytes);  // of what encode() has made

 private:
  std::vector<TraceEvent> events_;
  uint64_t left_out_ = 0;
};

// Of requests that have ended, the last ones. They lie close together in memory of their own: among answers
// that come and go they would keep most of the answers' pages.
class TraceShelf {
 public:
  static constexpr size_t kTracesMax = 2048;

  void put(const RequestTrace& trace);
  std::optional<RequestTrace> find(ipc::RequestId request) const;
  size_t size() const { return traces_.size(); }

 private:
  struct Kept {
    ipc::RequestId request;
    std::pmr::vector<std::byte> trace;  // encoded
  };
  std::pmr::unsynchronized_pool_resource memory_;
  std::pmr::deque<Kept> traces_{&memory_};  // the oldest first
};

}  // namespace deepserve::daemon
