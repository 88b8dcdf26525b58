// One process's side of a lane: the producer of one direction, the consumer of the other, and the wake
// protocol.
//
// lane.h has the contract. This header is for the lane's own tests and for recovery; everyone else uses
// Lane::attach.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "ipc/lane/gauges_page.h"
#include "ipc/lane/lane.h"
#include "ipc/lane/memfd.h"
#include "ipc/lane/ring.h"

namespace deepserve::ipc {

// Messages that found no room in the ring are kept up to this; the next one is refused.
inline constexpr size_t kOutbox_bytes_max = 16u << 20;

// create_lane with feature bits (layout.h).
Result<LaneFds> create_lane_with(const LaneSizes& sizes, uint64_t epoch, uint32_t features);

// A second set of descriptors for the same lane.
Result<LaneFds> duplicate(const LaneFds& fds);

class LaneSide final : public Lane {
 public:
  // The mappings are shared because a test may run both sides over one mapping (TSan sees no race across
  // two).
  LaneSide(std::shared_ptr<MappedDirection> out, std::shared_ptr<MappedDirection> in, Fd own_wake,
           Fd peer_wake, Side side);

  static Result<std::unique_ptr<LaneSide>> attach_side(LaneFds fds, Side side, uint64_t epoch_expected);

  SendOutcome send(MessageType type, std::span<const std::byte> body) override;
  void flush() override;
  size_t body_bytes_max() const override { return out_->facts().body_bytes / 4; }
  size_t outbox_bytes() const override { return outbox_bytes_; }
  Result<size_t> drain(size_t messages_max, const Handler& handler) override;
  int wake_fd() const override { return own_wake_.get(); }
  bool arm() override;
  void disarm() override;
  bool wait(uint64_t spin_ns, uint64_t timeout_ns, int other_fd) override;
  void publish_gauges(const Gauges& gauges) override;
  Gauges read_gauges() const override { return runner_gauges_.read(); }
  void count_step() override { own_gauges_.count_step(); }
  void set_bytes_loaded(uint64_t bytes) override { own_gauges_.set_bytes_loaded(bytes); }
  Progress progress() const override { return runner_gauges_.progress(); }
  void record_death(const DeathCause& cause) noexcept override { own_gauges_.record_death(cause); }
  DeathCause death_cause() const override { return peer_gauges_.death_cause(); }
  uint64_t epoch() const override { return out_->facts().epoch; }

  // For recovery. How many messages this side's direction has ever published, whoever wrote them: a writer
  // that restarts goes on with the message of this number.
  uint64_t published_count() const { return producer_.published(); }
  // How many messages were ever handled on this side: what comes after them comes (again).
  uint64_t handled_count() const { return consumer_.head(); }
  // Who writes the other direction, as that direction says.
  ProcessIdentity peer() const { return in_->owner(); }

 private:
  struct Kept {
    MessageType type{};
    std::vector<std::byte> body;
  };

  // Moves what fits from the outbox into the ring.
  void pump_outbox();
  void keep(MessageType type, std::span<const std::byte> body);
  bool something_to_do();
  // Looks again and again; true when there is something to do before the time is over.
  bool spin(uint64_t spin_ns);

  std::shared_ptr<MappedDirection> out_;
  std::shared_ptr<MappedDirection> in_;
  Fd own_wake_;
  Fd peer_wake_;
  Side side_;
  RingProducer producer_;
  RingConsumer consumer_;
  GaugesWriter own_gauges_;
  GaugesReader peer_gauges_;
  GaugesReader runner_gauges_;
  std::deque<Kept> outbox_;
  size_t outbox_bytes_ = 0;
  bool draining_ = false;
  bool streaming_ = false;    // the last drain handled many messages
  bool room_untold_ = false;  // the head moved since the last fence: a starving peer may not have been told
};

}  // namespace deepserve::ipc
