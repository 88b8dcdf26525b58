// The engine's events as messages of the lane. Nothing is dropped: what the lane refuses waits here, in
// order, and blocked() tells the loop to produce no more. A delta that is larger than a message may be goes
// in pieces.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "ipc/lane/lane.h"
#include "runner/engine/engine.h"

namespace deepserve::runner {

class LaneSink final : public EventSink {
 public:
  // `lane` must outlive the sink.
  explicit LaneSink(ipc::Lane& lane) : lane_(lane) {}

  void accepted(const ipc::Accepted& event) override { send(ipc::MessageType::kAccepted, event.encode()); }
  void delta(const ipc::Delta& event) override;
  void embedding(const ipc::Embedding& event) override { send(ipc::MessageType::kEmbedding, event.encode()); }
  void finished(const ipc::Finished& event) override { send(ipc::MessageType::kFinished, event.encode()); }
  void failed(const ipc::Failed& event) override;
  // Flushes what was told since the last flush, if anything: once for all of a step's accepted requests.
  void model_runs() override {
    if (unflushed_) flush();
  }
  void state(const ipc::RunnerState& state) { send(ipc::MessageType::kState, state.encode()); }
  void answer(const ipc::Answer& answer);

  void flush() {
    unflushed_ = false;
    lane_.flush();
  }
  // Sends what waits, as far as the lane takes it.
  void retry();
  bool blocked() const { return !backlog_.empty(); }
  size_t backlog() const { return backlog_.size(); }

 private:
  void send(ipc::MessageType type, std::span<const std::byte> body);
  void send_in_pieces(const ipc::Delta& event, size_t text_bytes_max);

  ipc::Lane& lane_;
  bool unflushed_ = false;
  std::vector<std::byte> body_;  // of deltas: kept for its memory
  // Bounded by what one turn of the loop can say: a step's events, or the answers to a batch of messages.
  std::deque<std::pair<ipc::MessageType, std::vector<std::byte>>> backlog_;
};

}  // namespace deepserve::runner
