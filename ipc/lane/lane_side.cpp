#include "ipc/lane/lane_side.h"

#include <sys/eventfd.h>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"
#include "ipc/lane/wake.h"

namespace deepserve::ipc {
namespace {

// What a kept message costs beside its body, so that a flood of empty ones is bounded too.
constexpr size_t kKept_bytes = 64;
// How many looks at the ring go between two looks at the clock while spinning.
constexpr uint32_t kSpinsPerClock = 32;

}  // namespace

LaneSide::LaneSide(std::shared_ptr<MappedDirection> out, std::shared_ptr<MappedDirection> in, Fd own_wake,
                   Fd peer_wake, Side side)
    : out_(std::move(out)),
      in_(std::move(in)),
      own_wake_(std::move(own_wake)),
      peer_wake_(std::move(peer_wake)),
      side_(side),
      producer_(ring_view(*out_)),
      consumer_(ring_view(*in_)),
      own_gauges_(out_->gauges()),
      peer_gauges_(in_->gauges()),
      runner_gauges_((side == Side::kRunner ? out_ : in_)->gauges()) {
  // Our predecessor may have died between storing and signalling: whatever the peer waits for, it looks
  // again.
  signal_eventfd(peer_wake_.get());
}

Result<std::unique_ptr<LaneSide>> LaneSide::attach_side(LaneFds fds, Side side, uint64_t epoch_expected) {
  TRY_ASSIGN(auto to_runner, MappedDirection::map(fds.to_runner, Direction::kToRunner, epoch_expected));
  TRY_ASSIGN(auto to_daemon, MappedDirection::map(fds.to_daemon, Direction::kToDaemon, epoch_expected));
  if (to_runner->facts().epoch != to_daemon->facts().epoch) {
    return fail(Code::kBadLane, "the lane's two directions are of epochs {} and {}", to_runner->facts().epoch,
                to_daemon->facts().epoch);
  }
  TRY_ASSIGN(const ProcessIdentity self, own_identity());
  const bool is_runner = side == Side::kRunner;
  if (is_runner) std::swap(to_runner, to_daemon);  // from here on: to_runner is what this side writes
  auto& own_wake = is_runner ? fds.runner_wake : fds.daemon_wake;
  auto& peer_wake = is_runner ? fds.daemon_wake : fds.runner_wake;
  to_runner->set_owner(self);
  return std::make_unique<LaneSide>(std::move(to_runner), std::move(to_daemon), std::move(own_wake),
                                    std::move(peer_wake), side);
}

void LaneSide::keep(MessageType type, std::span<const std::byte> body) {
  outbox_.push_back({.type = type, .body = {body.begin(), body.end()}});
  outbox_bytes_ += kKept_bytes + body.size();
}

SendOutcome LaneSide::send(MessageType type, std::span<const std::byte> body) {
  CHECK(body.size() <= body_bytes_max());
  if (!outbox_.empty()) pump_outbox();
  if (outbox_.empty() && producer_.try_send(static_cast<uint16_t>(type), body)) return SendOutcome::kSent;
  if (outbox_bytes_ + kKept_bytes + body.size() > kOutbox_bytes_max) return SendOutcome::kRefused;
  keep(type, body);
  return SendOutcome::kQueued;
}

void LaneSide::pump_outbox() {
  while (!outbox_.empty()) {
    const Kept& first = outbox_.front();
    if (!producer_.try_send(static_cast<uint16_t>(first.type), first.body)) break;
    outbox_bytes_ -= kKept_bytes + first.body.size();
    outbox_.pop_front();
  }
}

void LaneSide::flush() {
  if (!outbox_.empty()) pump_outbox();
  if (!producer_.has_unpublished() && !room_untold_) return;
  producer_.publish();
  fence_before_wake();
  wake_sleeper(out_->ring_words().armed, peer_wake_.get());
  wake_sleeper(in_->ring_words().starved, peer_wake_.get());
  room_untold_ = false;
}

Result<size_t> LaneSide::drain(size_t messages_max, const Handler& handler) {
  CHECK(!draining_);  // a handler must not drain
  if (!outbox_.empty()) flush();
  if (producer_.consumer_lies()) return fail(Code::kBadLane, "the peer's head word is out of bounds");
  draining_ = true;
  size_t handled = 0;
  size_t part = 0;
  do {
    // A peer that starves need not wait for the end of a long drain; one that is about to is told by the next
    // flush.
    wake_sleeper(in_->ring_words().starved, peer_wake_.get());
    part = consumer_.drain(std::min(messages_max - handled, kHeadStride_messages),
                           [&handler](uint16_t type, std::span<const std::byte> body) {
                             handler(static_cast<MessageType>(type), body);
                           });
    handled += part;
  } while (part == kHeadStride_messages && handled < messages_max);
  draining_ = false;
  streaming_ = handled >= kHeadStride_messages;
  if (handled != 0) {
    room_untold_ = true;
  } else if (room_untold_) {
    flush();
  }
  if (consumer_.lie()) return tl::unexpected<Error>(*consumer_.lie());
  return handled;
}

bool LaneSide::something_to_do() {
  return consumer_.has_message() || (!outbox_.empty() && producer_.has_room(outbox_.front().body.size()));
}

bool LaneSide::arm() {
  // Whoever stopped producing for want of room must hear that there is some: that, too, is no time to sleep.
  const size_t kept = outbox_.size();
  flush();
  if (outbox_.size() < kept) return false;
  if (!outbox_.empty()) announce_sleep(out_->ring_words().starved);
  announce_sleep(in_->ring_words().armed);
  if (!something_to_do()) return true;
  withdraw_sleep(in_->ring_words().armed);
  withdraw_sleep(out_->ring_words().starved);
  return false;
}

void LaneSide::disarm() {
  withdraw_sleep(in_->ring_words().armed);
  withdraw_sleep(out_->ring_words().starved);
  clear_eventfd(own_wake_.get());
}

bool LaneSide::wait(uint64_t spin_ns, uint64_t timeout_ns, int other_fd) {
  // Room that was made is told, with its fence, only before we sleep ourselves (arm) or publish.
  const size_t kept = outbox_.size();
  if (kept != 0 || producer_.has_unpublished()) flush();
  if (outbox_.size() < kept) return consumer_.has_message();
  if (something_to_do() || (spin_ns != 0 && spin(std::min(spin_ns, timeout_ns)))) {
    if (!outbox_.empty()) flush();
    return consumer_.has_message();
  }
  const uint64_t left_ns = timeout_ns - std::min(spin_ns, timeout_ns);
  if (left_ns != 0 && arm()) {
    wait_readable(own_wake_.get(), other_fd, left_ns);
    disarm();
    flush();
  }
  return consumer_.has_message();
}

bool LaneSide::spin(uint64_t spin_ns) {
  if (streaming_) {
    for (int i = 0; i < kStreamPauses; ++i) relax_processor();
  }
  // The clock costs as much as a short round trip: the first look at it comes after a while.
  uint64_t start_ns = 0;
  for (uint32_t turn = 1;; ++turn) {
    relax_processor();
    if (something_to_do()) return true;
    if (turn % kSpinsPerClock != 0) continue;
    const uint64_t now_ns = monotonic_ns();
    if (start_ns == 0) start_ns = now_ns;
    if (now_ns - start_ns >= spin_ns) return false;
  }
}

void LaneSide::publish_gauges(const Gauges& gauges) {
  CHECK(side_ == Side::kRunner);
  own_gauges_.publish(gauges);
}

}  // namespace deepserve::ipc
