// What the GPUs do, read on libuv's pool every second while somebody wants it; the loop's thread only sees
// the results. Said once in the log: that there is no driver, that a GPU does not answer, that it does again.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/gpu/gpu_state.h"
#include "daemon/gpu/gpus.h"
#include "daemon/loop/loop.h"

namespace deepserve::daemon {

class GpuMonitor {
 public:
  static constexpr uint64_t kPeriod_ms = 1'000;
  // Between attempts to begin with the driver anew: it may be loaded after us, a lost GPU may be reset.
  static constexpr uint64_t kOpenPeriod_ms = 60'000;

  // `on_xid`: on the loop's thread, of a GPU that the inventory has; may be empty.
  GpuMonitor(Loop& loop, OpenGpus open, std::function<void(const XidEvent&)> on_xid);
  ~GpuMonitor();

  // Whether to read at all: nothing is opened before somebody wants it, and the driver is let go of, and
  // forgotten what it said, when nobody does.
  void watch(bool wanted);
  // No reading begins between the two.
  void pause();
  void resume();
  // Whether a thread of the pool is in the driver.
  bool is_reading() const { return task_ != nullptr; }

  // Null until the driver has answered for the first time, or where there is none.
  const GpuInventory* inventory() const { return inventory_ ? &*inventory_ : nullptr; }
  // Why the driver was of no use when it was last begun with; empty: it was, or nobody knows yet.
  const std::string& trouble() const { return trouble_; }
  // In the inventory's order.
  const std::vector<GpuState>& gpus() const { return gpus_; }
  const GpuState* find(uint32_t index) const;
  const GpuState* find(std::string_view uuid) const;
  // Of a device as the configuration names it: GpuInventory::named.
  const GpuState* named(std::string_view name) const;

  // `done`, once, after the next reading that begins from here on, whatever it brought: gpus() is of after
  // this call then. Where nothing is read (nobody watches, it is paused, there is no driver) it is called at
  // once, through the loop.
  void after_next_reading(std::function<void()> done);

 private:
  struct Round;
  void turn();
  void end_round();
  void close();
  void take(Round& round);
  void take(GpuInventory inventory);
  static void tell(const GpuState& gpu, const std::string& before);

  Loop& loop_;
  const OpenGpus open_;
  const std::function<void(const XidEvent&)> on_xid_;
  std::shared_ptr<std::unique_ptr<Gpus>> source_;  // the running task's alone while there is one
  std::shared_ptr<Round> round_;
  std::unique_ptr<PoolTask> task_;
  std::optional<GpuInventory> inventory_;
  std::vector<GpuState> gpus_;
  std::string trouble_;
  std::vector<std::function<void()>> waiting_;  // for a reading that has not begun
  std::vector<std::function<void()>> reading_;  // for the one that has
  bool wanted_ = false;
  bool is_open_ = false;
  bool paused_ = false;
  bool closes_ = false;  // once nothing is in the pool, and what that brings is not wanted any more
  bool told_slow_ = false;
  uint64_t round_ns_ = 0;  // when the round in the pool began
  uint64_t next_open_ns_ = 0;
  Timer timer_;
};

}  // namespace deepserve::daemon
