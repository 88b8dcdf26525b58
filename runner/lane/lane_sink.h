// The engine's events as messages of the lane, and the log of them. Nothing is dropped: what the lane refuses
// waits, in order, and blocked() tells the loop to produce no more. A delta that is larger than a message may
// be goes in pieces.
//
// What is told of a request that began here (begin) stays in its log until dsd has acknowledged its end; the
// log is also where it waits. Without a daemon it goes there alone.
#pragma once

#include <cstddef>
#include <deque>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "ipc/lane/lane.h"
#include "runner/engine/engine.h"
#include "runner/lane/request_log.h"

namespace deepserve::runner {

class LaneSink final : public EventSink {
 public:
  // `lane` must outlive the sink, or its detach().
  explicit LaneSink(ipc::Lane& lane, const RequestLogLimits& limits = {}) : lane_(&lane), log_(limits) {}

  // A request came; `submit` is its encoding, `message` the same decoded. False: it is there already.
  bool begin(const ipc::Submit& message, std::span<const std::byte> submit);
  void acknowledge(ipc::RequestId request, uint64_t now_ns) { log_.acknowledge(request, now_ns); }
  void forget_old(uint64_t now_ns) {
    if (!tells_history()) log_.forget_old(now_ns);
  }

  // The daemon is gone: events go into the log, what is no request's is dropped.
  void detach();
  // Another one is there; after the states that are sent first, retry() tells it of all requests: first of
  // those that run or whose end nobody has taken; nothing new is told before. Then, beside what is new, of
  // the others, whose clients may yet come back: kHistoryEvents or a little more each time.
  static constexpr size_t kHistoryEvents = 2048;
  void attach(ipc::Lane& lane);
  // Requests whose answers nobody will ever hear: to be cancelled. Taken by the caller.
  std::vector<ipc::RequestId> take_abandoned() { return std::exchange(abandoned_, {}); }

  void accepted(const ipc::Accepted& event) override;
  void delta(const ipc::Delta& event) override;
  void resumed(const ipc::Delta& event) override;
  void embedding(const ipc::Embedding& event) override;
  void finished(const ipc::Finished& event) override;
  void failed(const ipc::Failed& event) override;
  // Flushes what was told since the last flush, if anything: once for all of a step's accepted requests.
  void model_runs() override {
    if (unflushed_) flush();
  }
  void state(const ipc::RunnerState& state) { send(ipc::MessageType::kState, state.encode()); }
  void answer(const ipc::Answer& answer);

  void flush() {
    unflushed_ = false;
    if (lane_ != nullptr) lane_->flush();
  }
  // Sends what waits, as far as the lane takes it.
  void retry();
  bool blocked() const { return !backlog_.empty() || !behind_.empty(); }
  // There is more to be told of what is over, and retry() would tell it.
  bool tells_history() const { return lane_ != nullptr && !history_.empty(); }
  bool lane_is_full() const { return lane_full_; }
  size_t backlog() const { return backlog_.size(); }
  const RequestLog& log() const { return log_; }

 private:
  size_t body_bytes_max() const;
  void tell(ipc::RequestId request, ipc::MessageType type, std::span<const std::byte> body);
  void send(ipc::MessageType type, std::span<const std::byte> body);
  bool catch_up(ipc::RequestId request, size_t* events = nullptr);
  void keep_within_limits();
  void send_in_pieces(const ipc::Delta& event, size_t text_bytes_max);

  ipc::Lane* lane_;  // null: there is no daemon
  RequestLog log_;
  bool unflushed_ = false;
  std::vector<std::byte> body_;  // of deltas: kept for its memory
  // Of no request, or of one that is not in the log. Bounded by what one turn of the loop can say: a step's
  // events, or the answers to a batch of messages.
  std::deque<std::pair<ipc::MessageType, std::vector<std::byte>>> backlog_;
  std::set<ipc::RequestId> behind_;     // requests of which the log has more than was sent
  std::deque<ipc::RequestId> history_;  // of those that are over, the ones that a new daemon has not heard of
  bool lane_full_ = false;              // at the last retry()
  std::vector<ipc::RequestId> abandoned_;
};

}  // namespace deepserve::runner
