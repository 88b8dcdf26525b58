#include "daemon/serving/gpu_shares.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>

#include "daemon/supervise/device_fault.h"
#include "daemon/supervise/mps_processes.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kGraceForQuit_ns = 2 * kSecond_ns;

}  // namespace

GpuShares::GpuShares(Loop& loop, std::string directory, GpuFacts facts)
    : loop_(loop), directory_(std::move(directory)), facts_(std::move(facts)) {}

GpuShares::~GpuShares() = default;

void GpuShares::find_left() {
  if (directory_.empty()) return;
  for (const auto& left : find_left_mps(directory_)) {
    Gpu& gpu = gpu_of(left.gpu);
    if (gpu.mps->stopped() && gpu.mps->adopt(left.process)) {
      gpu.share.adopt_mps();
      gpu.mps_visible = left.visible;
      continue;
    }
    spdlog::warn("GPU {}: a second MPS daemon (pid {}) is ended", left.gpu, left.process.pid);
    if (auto child = Child::adopt(left.process)) child->signal(SIGKILL);
  }
}

void GpuShares::configure(const Config& config) {
  if (directory_.empty()) return;
  limits_.deaths_max = config.supervise.deaths_max;
  limits_.window_ns = config.supervise.window_ns;
  limits_.exit_grace_ns = kGraceForQuit_ns;
  for (const auto& device : config.devices) {
    if (device.is_gpu()) gpu_of(device.gpu);
  }
  for (auto& [name, gpu] : gpus_) {
    gpu->mps->set_limits(limits_);
    apply(*gpu, config.is_shared(name) ? ShareEvent::kShare : ShareEvent::kOwn);
  }
}

void GpuShares::settle() {
  settled_ = true;
  for (auto& [name, gpu] : gpus_) {
    if (gpu->clients.empty()) apply(*gpu, ShareEvent::kEmptied);
  }
}

GpuStart GpuShares::ask(GpuUser& user, const DeviceGroup& devices, uint64_t needed_bytes) {
  if (directory_.empty()) return GpuStart::kNow;
  bool waits = false;
  for (const auto& device : devices) {
    if (!device.is_gpu()) continue;
    Gpu& gpu = gpu_of(device.gpu);
    if (gpu.share.state() == ShareState::kDrained) return GpuStart::kNever;
    if (gpu.share.may_start() && !stopping_) continue;
    gpu.waiting.insert(&user);
    waits = true;
  }
  if (waits) return GpuStart::kWait;
  return ask_memory(user, devices, needed_bytes);
}

// Looks at what is free of each GPU since a process ended there, and takes the least.
GpuStart GpuShares::ask_memory(GpuUser& user, const DeviceGroup& devices, uint64_t needed_bytes) {
  uint64_t ended_ns = 0;
  std::optional<uint64_t> free_bytes;
  for (const auto& device : devices) {
    const Gpu* gpu = find(device.gpu);
    if (gpu == nullptr || gpu->ended_ns == 0 || !facts_.free_bytes) continue;
    ended_ns = std::max(ended_ns, gpu->ended_ns);
    const auto free = facts_.free_bytes(device.gpu, gpu->ended_ns);
    if (free) free_bytes = std::min(free_bytes.value_or(*free), *free);
  }
  const uint64_t now_ns = monotonic_ns();
  if (ended_ns == 0) return GpuStart::kNow;
  auto found = memory_.find(&user);
  if (found == memory_.end()) {
    if (now_ns - ended_ns > MemoryWait::kLimit_ns) return GpuStart::kNow;
    found = memory_.emplace(&user, Waiter()).first;
    found->second.wait.begin(now_ns);
  }
  auto& waiter = found->second;
  switch (waiter.wait.step(now_ns, needed_bytes, free_bytes)) {
    case MemoryWait::Verdict::kWait:
      waiter.waits = true;
      return GpuStart::kWait;
    case MemoryWait::Verdict::kGoLate:
      spdlog::warn("GPU {}: {} bytes are free, {} are needed; it is tried", devices.front().gpu,
                   free_bytes.value_or(0), needed_bytes);
      break;
    case MemoryWait::Verdict::kGo:
      break;
  }
  memory_.erase(found);
  return GpuStart::kNow;
}

std::string GpuShares::trouble(const DeviceGroup& devices) const {
  for (const auto& device : devices) {
    const Gpu* gpu = find(device.gpu);
    if (gpu != nullptr && gpu->share.state() == ShareState::kDrained) {
      return fmt::format("GPU {} is drained until `dsctl runner reset`: {}", gpu->name, gpu->drained_why);
    }
  }
  return {};
}

// What the programs of CUDA call it: its UUID where that is known.
std::string GpuShares::visible_name(const std::string& gpu) const {
  const std::string uuid = facts_.uuid ? facts_.uuid(gpu) : "";
  return uuid.empty() ? gpu : uuid;
}

Environment GpuShares::environment(const DeviceConfig& device) const {
  if (!device.is_gpu() || directory_.empty()) return {};
  const Gpu* gpu = find(device.gpu);
  const bool is_client = gpu != nullptr && gpu->share.uses_mps();
  return runner_environment(directory_, device, is_client ? gpu->mps_visible : visible_name(device.gpu),
                            is_client);
}

void GpuShares::started(GpuUser& user, const DeviceGroup& devices) {
  for (const auto& device : devices) {
    if (!device.is_gpu() || directory_.empty()) continue;
    Gpu& gpu = gpu_of(device.gpu);
    if (gpu.share.uses_mps()) gpu.clients.insert(&user);
  }
}

void GpuShares::adopted(GpuUser& user, const DeviceGroup& devices) {
  for (const auto& device : devices) {
    if (!device.is_gpu() || directory_.empty()) continue;
    Gpu& gpu = gpu_of(device.gpu);
    if (gpu.share.has_mps()) gpu.clients.insert(&user);
  }
}

// A client that ends without having waited for the GPU leaves the others in an undefined state
// ("Multi-Process Service", client termination).
void GpuShares::ended(GpuUser& user, const DeviceGroup& devices, const GpuEnd& end) {
  for (size_t rank = 0; rank < devices.size(); ++rank) {
    if (!devices[rank].is_gpu() || directory_.empty()) continue;
    Gpu& gpu = gpu_of(devices[rank].gpu);
    const bool was_client = gpu.clients.erase(&user) != 0;
    const CudaFault& fault = cuda_fault(end.device_error);
    const bool is_told = end.device_error != 0 && rank == end.rank;
    const DeviceAction action = !is_told ? DeviceAction::kNote : was_client ? fault.shared : fault.action;
    if (is_told) spdlog::error("GPU {}: {}: {}", gpu.name, end.text, device_action_name(action));
    if (action == DeviceAction::kDrainGpu) {
      drain(gpu, end.text);
    } else if (was_client && (action == DeviceAction::kRecycleMps || end.abrupt)) {
      apply(gpu, ShareEvent::kFault);
    }
    if (gpu.clients.empty()) apply(gpu, ShareEvent::kEmptied);
    gpu.ended_ns = monotonic_ns();
  }
}

void GpuShares::served(const DeviceGroup& devices) {
  for (const auto& device : devices) {
    const auto found = gpus_.find(device.gpu);
    if (found != gpus_.end() && found->second->share.uses_mps()) found->second->mps->forgive();
  }
}

bool GpuShares::is_client(const GpuUser& user) const {
  return std::any_of(gpus_.begin(), gpus_.end(), [&user](const auto& gpu) {
    return gpu.second->clients.contains(const_cast<GpuUser*>(&user));
  });
}

void GpuShares::terminate_client(const GpuUser& user, pid_t pid, std::function<void()> done) {
  for (auto& [name, gpu] : gpus_) {
    if (!gpu->clients.contains(const_cast<GpuUser*>(&user))) continue;
    return gpu->mps->terminate_client(pid, std::move(done));
  }
  loop_.defer(std::move(done));
}

void GpuShares::forget(GpuUser& user) {
  memory_.erase(&user);
  for (auto& [name, gpu] : gpus_) {
    gpu->waiting.erase(&user);
    if (gpu->clients.erase(&user) != 0 && gpu->clients.empty()) apply(*gpu, ShareEvent::kEmptied);
  }
}

void GpuShares::on_xid(const std::string& gpu, uint32_t xid) {
  const auto found = gpus_.find(gpu);
  const XidFault& fault = xid_fault(xid);
  const bool drains = fault.action == DeviceAction::kDrainGpu;
  spdlog::log(drains ? spdlog::level::err : spdlog::level::warn, "GPU {}: {}: {}", gpu, xid_fault_text(xid),
              device_action_name(fault.action));
  if (drains && found != gpus_.end()) drain(*found->second, xid_fault_text(xid));
}

void GpuShares::drain(Gpu& gpu, const std::string& why) {
  if (gpu.share.state() != ShareState::kDrained) gpu.drained_why = why;
  apply(gpu, ShareEvent::kDrain);
}

bool GpuShares::reset(const DeviceGroup& devices) {
  bool was_drained = false;
  for (const auto& device : devices) {
    const auto found = gpus_.find(device.gpu);
    if (found == gpus_.end() || found->second->share.state() != ShareState::kDrained) continue;
    was_drained = true;
    apply(*found->second, ShareEvent::kReset);
  }
  return was_drained;
}

std::vector<DrainedGpu> GpuShares::drained() const {
  std::vector<DrainedGpu> drained;
  for (const auto& [name, gpu] : gpus_) {
    if (gpu->share.state() == ShareState::kDrained) drained.push_back({name, gpu->drained_why});
  }
  return drained;
}

std::string_view GpuShares::state_name(const DeviceConfig& device) const {
  if (!device.is_gpu()) return {};
  const Gpu* gpu = find(device.gpu);
  return share_state_name(gpu == nullptr ? ShareState::kAlone : gpu->share.state());
}

pid_t GpuShares::mps_pid(const DeviceConfig& device) const {
  const Gpu* gpu = find(device.gpu);
  return gpu == nullptr ? -1 : gpu->mps->pid();
}

void GpuShares::tick() {
  std::vector<GpuUser*> asking;
  for (auto& [user, waiter] : memory_) {
    if (std::exchange(waiter.waits, false)) asking.push_back(user);
  }
  for (GpuUser* user : asking) user->on_gpu_open();
}

bool GpuShares::speaks() const {
  return std::any_of(gpus_.begin(), gpus_.end(), [](const auto& gpu) { return gpu.second->mps->is_asked(); });
}

void GpuShares::stop() {
  begin_stop();
  for (auto& [name, gpu] : gpus_) gpu->mps->stop();
}

bool GpuShares::stopped() const {
  return std::all_of(gpus_.begin(), gpus_.end(), [](const auto& gpu) { return gpu.second->mps->stopped(); });
}

void GpuShares::kill_now() {
  for (auto& [name, gpu] : gpus_) gpu->mps->kill_now();
}

const GpuShares::Gpu* GpuShares::find(const std::string& name) const {
  const auto found = gpus_.find(name);
  return found == gpus_.end() ? nullptr : found->second.get();
}

GpuShares::Gpu& GpuShares::gpu_of(const std::string& name) {
  auto& place = gpus_[name];
  if (place != nullptr) return *place;
  place = std::make_unique<Gpu>();
  Gpu& gpu = *place;
  gpu.name = name;
  MpsDaemon::Hooks hooks;
  hooks.ready = [this, &gpu] { apply(gpu, ShareEvent::kMpsReady); };
  hooks.gone = [this, &gpu] { apply(gpu, ShareEvent::kMpsGone); };
  hooks.given_up = [this, &gpu](const std::string& why) { give_up(gpu, why); };
  hooks.may_start = [this, &gpu] { return gpu.share.may_start_mps() && !stopping_; };
  hooks.environment = [this, &gpu] { return mps_environment(directory_, gpu.name, gpu.mps_visible); };
  gpu.mps = std::make_unique<MpsDaemon>(loop_, limits_, directory_, name, std::move(hooks));
  return gpu;
}

void GpuShares::give_up(Gpu& gpu, const std::string& why) {
  // Once for all GPUs: it is said of the host.
  const bool is_missing = find_mps_control().empty();
  if (!is_missing || !std::exchange(said_missing_, true)) {
    spdlog::warn(
        "GPU {}: no MPS: {}; the runners that share a GPU take turns on it (time-slicing), and "
        "thread_percent is not kept",
        gpu.name, why);
  }
  apply(gpu, ShareEvent::kMpsGivenUp);
}

void GpuShares::apply(Gpu& gpu, ShareEvent event) {
  const auto before = gpu.share.state();
  const auto actions = gpu.share.step(event);
  const auto after = gpu.share.state();
  if (before != after) {
    spdlog::log(after == ShareState::kDrained ? spdlog::level::err : spdlog::level::info, "GPU {}: {}{}",
                gpu.name, share_state_name(after),
                after == ShareState::kDrained ? ": no runner starts there until `dsctl runner reset`" : "");
  }
  if (actions.end_clients) {
    for (GpuUser* user : std::vector<GpuUser*>(gpu.clients.begin(), gpu.clients.end())) user->on_gpu_lost();
  }
  if (actions.stop_mps && (!actions.start_mps || !gpu.mps->stopped())) gpu.mps->stop();
  if (actions.start_mps && !stopping_) {
    gpu.mps_visible = visible_name(gpu.name);
    gpu.mps->start();
  }
  if (actions.admit) admit_later();
  if (event != ShareEvent::kEmptied && settled_ && gpu.clients.empty()) apply(gpu, ShareEvent::kEmptied);
}

void GpuShares::admit_later() {
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    std::set<GpuUser*> asking;
    for (auto& [name, gpu] : gpus_) {
      if (gpu->share.may_start() || gpu->share.state() == ShareState::kDrained)
        asking.merge(std::exchange(gpu->waiting, {}));
    }
    for (GpuUser* user : asking) user->on_gpu_open();
  });
}

}  // namespace deepserve::daemon
