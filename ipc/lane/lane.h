// A lane: what dsd and one runner share. Two sealed memfds (one per direction), each a ring of 64-byte slots
// with a FIFO byte ring for larger bodies, and one eventfd per side to wake it (DESIGN 5).
//
// Threads: one side of a lane belongs to one thread. Nothing here blocks except Lane::wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"

namespace deepserve::ipc {

enum class Side : uint8_t { kDaemon, kRunner };

struct LaneSizes {
  uint32_t slots = 1024;  // per direction, a power of two
  uint32_t body_bytes =
      4u << 20;  // byte ring per direction, a power of two; the largest body is a quarter of it
};

// The descriptors of one lane. Both sides hold the same four; dsd makes them and the runner inherits them.
struct LaneFds {
  Fd to_runner;    // memfd: dsd writes
  Fd to_daemon;    // memfd: the runner writes
  Fd runner_wake;  // eventfd: dsd signals, the runner waits
  Fd daemon_wake;  // eventfd: the runner signals, dsd waits
};

// Where a runner finds what it inherits (dsd's spawn puts them there).
inline constexpr int kLaneFdToRunner = 3;
inline constexpr int kLaneFdToDaemon = 4;
inline constexpr int kLaneFdRunnerWake = 5;
inline constexpr int kLaneFdDaemonWake = 6;
inline constexpr int kSupervisorSocketFd = 7;  // a socketpair's end: its hang-up is the death of dsd

// Makes both memfds (MFD_CLOEXEC, sealed against shrinking, growing and further seals) and lays them out.
// `epoch` numbers the runners that served this share (1 is the first).
Result<LaneFds> create_lane(const LaneSizes& sizes, uint64_t epoch);

enum class SendOutcome : uint8_t {
  kSent,     // in the ring (published by the next flush)
  kQueued,   // the ring is full: kept in the bounded outbox, goes out when the peer has made room
  kRefused,  // the outbox is full too: the caller keeps the message and stops producing
};

// Called once for each message, in order. `body` is a private copy, valid during the call.
using Handler = std::function<void(MessageType type, std::span<const std::byte> body)>;

class Lane {
 public:
  // Maps and checks: magic, ABI, sizes, epoch, header checksum, seals. Fails with kBadLane naming what
  // differs. `epoch_expected` 0 takes any. The runner's side also records its pid and start time as owner of
  // its direction.
  static Result<std::unique_ptr<Lane>> attach(LaneFds fds, Side side, uint64_t epoch_expected);
  virtual ~Lane() = default;

  // Appends one message. Never blocks. A body over a quarter of the byte ring fails a CHECK: callers bound
  // bodies by body_bytes_max().
  virtual SendOutcome send(MessageType type, std::span<const std::byte> body) = 0;
  // Publishes all that was sent since the last flush and wakes the peer if it sleeps: for these messages, or
  // for the room that drain() made since then. arm() and wait() flush, too.
  virtual void flush() = 0;
  virtual size_t body_bytes_max() const = 0;
  virtual size_t outbox_bytes() const = 0;

  // Hands up to `messages_max` messages to `handler`; returns how many. The head is stored after each batch
  // is handled, so that a consumer that died is given the unhandled ones again. A message that lies (its
  // length or offset is out of bounds) ends in kBadLane: the caller treats the peer as dead.
  virtual Result<size_t> drain(size_t messages_max, const Handler& handler) = 0;

  // For an event loop: poll wake_fd() for reading. arm() before sleeping: false means there is something to
  // drain or room for the outbox already, do not sleep. disarm() after waking: reads the eventfd.
  virtual int wake_fd() const = 0;
  virtual bool arm() = 0;
  virtual void disarm() = 0;

  // For a thread of its own: spins up to spin_ns, then arms and blocks until woken or `timeout_ns` has
  // passed, or `other_fd` (-1: none) is readable or hung up. Returns true when there is something to drain;
  // false also when the outbox got some room, so that a caller who had stopped producing can go on.
  virtual bool wait(uint64_t spin_ns, uint64_t timeout_ns, int other_fd) = 0;

  // The runner's gauges: written by the runner, read by dsd (seqlock).
  virtual void publish_gauges(const Gauges& gauges) = 0;
  virtual Gauges read_gauges() const = 0;  // the last consistent copy

  // Progress, apart from the gauges so that a step costs one relaxed add. Either side may read.
  virtual void count_step() = 0;
  virtual void set_bytes_loaded(uint64_t bytes) = 0;
  virtual Progress progress() const = 0;

  // Writes why this process is about to die (async-signal-safe); the survivor reads it after the death.
  virtual void record_death(const DeathCause& cause) noexcept = 0;
  virtual DeathCause death_cause() const = 0;

  virtual uint64_t epoch() const = 0;
};

}  // namespace deepserve::ipc
