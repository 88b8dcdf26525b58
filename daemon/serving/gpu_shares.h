// The GPUs that the configuration names: who shares them and how, and the MPS daemons that this takes
// (DESIGN 10). Gives supervise/gpu_share its events and does what it says; of CUDA it knows environment
// variables and numbers. Everything is on the loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/loop/loop.h"
#include "daemon/serving/mps_daemon.h"
#include "daemon/supervise/gpu_environment.h"
#include "daemon/supervise/gpu_share.h"
#include "daemon/supervise/memory_wait.h"
#include "daemon/supervise/runner_command.h"

namespace deepserve::daemon {

// What the driver tells of a GPU, by its name in the configuration; nothing where nobody knows. Both may be
// empty.
struct GpuFacts {
  // Of its memory; 0 where that was not read since then.
  std::function<std::optional<uint64_t>(const std::string& gpu, uint64_t since_ns)> free_bytes;
  std::function<std::string(const std::string& gpu)> uuid;
};

// Who starts processes on GPUs. It must outlive the shares, or be forgotten.
class GpuUser {
 public:
  // What it was held for may have come: it asks again.
  virtual void on_gpu_open() = 0;
  // Its processes are to be ended and started anew, as its GPU's MPS daemon is.
  virtual void on_gpu_lost() = 0;

 protected:
  ~GpuUser() = default;
};

enum class GpuStart : uint8_t {
  kNow,
  kWait,   // until on_gpu_open()
  kNever,  // until an operator says so: trouble() has why
};

// How a user's processes have ended.
struct GpuEnd {
  int device_error = 0;  // CUDA's; 0: none was told
  uint32_t rank = 0;     // of the process that had it
  bool abrupt = false;   // one was killed, or crashed: what it had asked of the GPU may be unfinished
  std::string text;      // for the log
};

// Where no runner starts until an operator says so, and why.
struct DrainedGpu {
  std::string gpu;
  std::string why;
};

class GpuShares {
 public:
  // `directory`: where the MPS daemons have their files; empty: there are none, all GPUs are as if alone.
  GpuShares(Loop& loop, std::string directory, GpuFacts facts);
  ~GpuShares();

  // Takes over what an earlier dsd left. Once, before configure(), while the loop runs.
  void find_left();
  // Also for a configuration that has changed.
  void configure(const Config& config);
  // All runners of an earlier dsd are here that will come: MPS daemons that nobody uses end.
  void settle();

  // Devices that are no GPUs are always ready. `needed_bytes`: of the device's memory.
  GpuStart ask(GpuUser& user, const DeviceGroup& devices, uint64_t needed_bytes);
  // Why kNever, in words.
  std::string trouble(const DeviceGroup& devices) const;
  Environment environment(const DeviceConfig& device) const;
  void started(GpuUser& user, const DeviceGroup& devices);
  // Of it nobody knows more than that there is, or is not, a daemon of which it may be a client.
  void adopted(GpuUser& user, const DeviceGroup& devices);
  void ended(GpuUser& user, const DeviceGroup& devices, const GpuEnd& end);
  void served(const DeviceGroup& devices);
  bool is_client(const GpuUser& user) const;
  // See MpsDaemon.
  void terminate_client(const GpuUser& user, pid_t pid, std::function<void()> done);
  void forget(GpuUser& user);

  // The driver has told of an Xid error.
  void on_xid(const std::string& gpu, uint32_t xid);
  // An operator wants drained ones to be used again. True: one of them was.
  bool reset(const DeviceGroup& devices);
  std::vector<DrainedGpu> drained() const;
  // As another dsd left it.
  void drain(const DrainedGpu& drained) { drain(gpu_of(drained.gpu), drained.why); }
  // "alone", "shared", "time-sliced", ...; empty: it is no GPU.
  std::string_view state_name(const DeviceConfig& device) const;
  // Of the MPS daemon of the device's GPU; -1: there is none.
  pid_t mps_pid(const DeviceConfig& device) const;

  // Every Service::kTick: memory that is waited for may be free.
  void tick();
  // Something is being said to an MPS daemon.
  bool speaks() const;
  // Nobody starts any more.
  void begin_stop() { stopping_ = true; }
  // The MPS daemons end; nobody uses them.
  void stop();
  bool stopped() const;
  void kill_now();

 private:
  struct Gpu {
    std::string name;
    GpuShare share;
    std::unique_ptr<MpsDaemon> mps;
    std::string mps_visible;     // what that daemon calls it: clients have to call it accordingly
    std::set<GpuUser*> clients;  // of its MPS daemon, with a process
    std::set<GpuUser*> waiting;  // to be started
    std::string drained_why;
    uint64_t ended_ns = 0;  // when a process that had some of its memory ended last; 0: none has
  };
  Gpu& gpu_of(const std::string& name);
  const Gpu* find(const std::string& name) const;
  GpuStart ask_memory(GpuUser& user, const DeviceGroup& devices, uint64_t needed_bytes);
  void apply(Gpu& gpu, ShareEvent event);
  void admit_later();
  void drain(Gpu& gpu, const std::string& why);
  std::string visible_name(const std::string& gpu) const;
  void give_up(Gpu& gpu, const std::string& why);

  Loop& loop_;
  const std::string directory_;
  const GpuFacts facts_;
  SupervisionLimits limits_;
  std::map<std::string, std::unique_ptr<Gpu>> gpus_;
  struct Waiter {
    MemoryWait wait;
    bool waits = false;
  };
  std::map<GpuUser*, Waiter> memory_;  // who is to be started soon after another process has ended there
  bool settled_ = false;
  bool stopping_ = false;
  bool said_missing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace deepserve::daemon
