// What a runner keeps of each request until its dsd has taken the end of it, and for a while longer: the
// Submit as it came and every event that was told of it (DESIGN 5). A dsd that adopts the runner hears all of
// it again.
//
// Bounded: beyond bytes_max what has ended and is acknowledged goes first, the oldest before the others; then
// the largest request is cut. Of a cut request nothing more is kept: while its dsd lives it goes on as any
// other, and a new dsd is told of its failure in its place.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"

namespace deepserve::runner {

struct RequestLogLimits {
  size_t bytes_max = 64u << 20;
  size_t acknowledged_bytes_max = 8u << 20;  // of those that are acknowledged
  uint64_t window_ns = 30'000'000'000;       // so long they are kept
};

class RequestLog {
 public:
  // Whether the dsd that is there now hears of an event, or only the next one.
  enum class For : uint8_t { kAll, kNextOnly };
  struct Event {
    ipc::MessageType type{};
    std::span<const std::byte> body;  // valid until the log changes
  };
  using Kept = std::pair<ipc::MessageType, std::vector<std::byte>>;
  // Of a request that was cut: what is kept no longer and was not told yet, in order.
  struct Cut {
    ipc::RequestId request = 0;
    std::vector<Kept> untold;
  };

  explicit RequestLog(const RequestLogLimits& limits = {}) : limits_(limits) {}

  // `submit`: its encoding. False: the request is there already, nothing is changed. `tellable` false: what
  // it had generated elsewhere cannot be told again, it is cut from the start.
  bool begin(ipc::RequestId request, std::span<const std::byte> submit, bool tellable);
  // True: kept; false: the request is not known or was cut, nobody but the caller has the event.
  bool append(ipc::RequestId request, ipc::MessageType type, std::span<const std::byte> body,
              For whom = For::kAll);
  // Its end was appended. `wanted` false: nobody will ask for it, it goes as soon as it is acknowledged.
  void end(ipc::RequestId request, bool wanted);
  // dsd has taken the end: it is kept for the window, no more. A request that has not ended stays.
  void acknowledge(ipc::RequestId request, uint64_t now_ns);
  void forget_old(uint64_t now_ns);
  // Cuts what is too much; to be called after append. Most often nothing.
  std::vector<Cut> keep_within_limits();

  // The next event to be told of `request`; nothing: all of it was told.
  std::optional<Event> next(ipc::RequestId request) const;
  void told(ipc::RequestId request);
  // A new dsd: all is to be told again, kAdopted first. Those to be told of, in the order of their numbers.
  std::vector<ipc::RequestId> begin_again();
  // Told as failed to a new dsd, or to be: nobody waits for what it still says.
  bool is_lost(ipc::RequestId request) const;
  // It has ended, and some dsd has taken the end.
  bool is_over(ipc::RequestId request) const;
  // Those that were cut and have not ended.
  std::vector<ipc::RequestId> cut_requests() const;

  size_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::vector<std::byte> submit;
    std::vector<std::byte> events;   // one after the other: EventHeader, body
    std::vector<std::byte> history;  // kNextOnly events that came before Accepted, which goes ahead of them
    size_t told = 0;                 // of `events`, in bytes
    bool accepted = false;
    bool tellable = true;      // what it had generated elsewhere can be told again
    bool adopted_due = false;  // the new dsd has not heard kAdopted
    bool all_due = false;      // it hears kNextOnly events, too
    bool cut = false;
    bool lost = false;  // cut, and a new dsd is there
    bool ended = false;
    bool wanted = true;
    uint64_t acknowledged_ns = 0;  // 0: it is not
    size_t bytes() const;
  };
  Cut cut(ipc::RequestId request, Entry& entry);
  static void skip_untellable(Entry& entry);
  void erase(std::map<ipc::RequestId, Entry>::iterator entry);
  void grow(const Entry& entry, size_t bytes_before);

  const RequestLogLimits limits_;
  std::map<ipc::RequestId, Entry> entries_;
  std::deque<ipc::RequestId> acknowledged_;  // the oldest first
  size_t bytes_ = 0;
  size_t acknowledged_bytes_ = 0;
};

}  // namespace deepserve::runner
