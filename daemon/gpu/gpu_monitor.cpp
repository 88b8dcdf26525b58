#include "daemon/gpu/gpu_monitor.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

// What one task does and brings. The pool's until it is done, then the loop's.
struct GpuMonitor::Round {
  OpenGpus open = nullptr;
  std::optional<Error> failure;
  std::optional<GpuInventory> inventory;  // where this round has opened the driver
  struct Read {
    uint32_t index = 0;
    uint64_t begun_ns = 0;
    GpuReading reading;
  };
  std::vector<Read> reads;
  std::vector<XidEvent> xids;

  bool reopens = false;  // the driver is let go of first

  void run(std::unique_ptr<Gpus>& source) {
    if (reopens && source != nullptr) {
      xids = source->take_xids();
      source = nullptr;
    }
    if (source == nullptr) {
      auto opened = open();
      if (!opened) {
        failure = opened.error();
        return;
      }
      source = std::move(*opened);
      inventory = source->inventory();
    }
    // First: whoever acts on an Xid then has a reading of after it.
    for (const auto& xid : source->take_xids()) xids.push_back(xid);
    for (const auto& gpu : source->inventory().gpus) {
      const uint64_t begun_ns = monotonic_ns();
      reads.push_back({gpu.index, begun_ns, source->read(gpu.index)});
    }
  }
};

GpuMonitor::GpuMonitor(Loop& loop, OpenGpus open, std::function<void(const XidEvent&)> on_xid)
    : loop_(loop),
      open_(open),
      on_xid_(std::move(on_xid)),
      source_(std::make_shared<std::unique_ptr<Gpus>>()),
      timer_(loop, [this] { turn(); }) {}

// A task that still runs has the source, and closes the driver at its end.
GpuMonitor::~GpuMonitor() = default;

void GpuMonitor::watch(bool wanted) {
  if (std::exchange(wanted_, wanted) == wanted) return;
  if (wanted) return timer_.start(0, kPeriod_ms);
  timer_.stop();
  inventory_.reset();
  gpus_.clear();
  trouble_.clear();
  closes_ = true;
  if (!is_reading()) close();
}

// Letting go of the driver may take as long as anything else that it does.
void GpuMonitor::close() {
  is_open_ = false;
  next_open_ns_ = 0;
  task_ = std::make_unique<PoolTask>(
      loop_, [source = source_] { source->reset(); },
      [this] {
        task_.reset();
        closes_ = false;
        turn();
      });
}

void GpuMonitor::pause() {
  paused_ = true;
}

void GpuMonitor::resume() {
  paused_ = false;
}

const GpuState* GpuMonitor::find(uint32_t index) const {
  const auto found =
      std::find_if(gpus_.begin(), gpus_.end(), [&](const auto& gpu) { return gpu.identity.index == index; });
  return found == gpus_.end() ? nullptr : &*found;
}

const GpuState* GpuMonitor::find(std::string_view uuid) const {
  const auto* gpu = inventory_ ? inventory_->find(uuid) : nullptr;
  return gpu == nullptr ? nullptr : find(gpu->index);
}

const GpuState* GpuMonitor::named(std::string_view name) const {
  const auto* gpu = inventory_ ? inventory_->named(name) : nullptr;
  return gpu == nullptr ? nullptr : find(gpu->index);
}

void GpuMonitor::after_next_reading(std::function<void()> done) {
  if (!wanted_ || paused_) return loop_.defer(std::move(done));
  waiting_.push_back(std::move(done));
  if (!is_reading()) turn();
}

void GpuMonitor::turn() {
  const uint64_t now_ns = monotonic_ns();
  if (is_reading()) {
    if (now_ns - round_ns_ >= GpuState::kStale_ns && !std::exchange(told_slow_, true)) {
      spdlog::error("the GPU driver has not answered for {} s: what is known of the GPUs is old",
                    (now_ns - round_ns_) / kSecond_ns);
    }
    return;
  }
  if (paused_ || !wanted_ || (!is_open_ && now_ns < next_open_ns_)) {
    for (auto& done : std::exchange(waiting_, {})) loop_.defer(std::move(done));
    return;
  }
  round_ns_ = now_ns;
  reading_ = std::exchange(waiting_, {});
  round_ = std::make_shared<Round>();
  round_->open = open_;
  const auto in_trouble = [](const GpuState& gpu) { return !gpu.reading.trouble.empty(); };
  round_->reopens = now_ns >= next_open_ns_ && std::any_of(gpus_.begin(), gpus_.end(), in_trouble);
  task_ = std::make_unique<PoolTask>(
      loop_, [round = round_, source = source_] { round->run(*source); }, [this] { end_round(); });
}

void GpuMonitor::end_round() {
  task_.reset();
  const auto round = std::exchange(round_, nullptr);
  if (std::exchange(told_slow_, false)) spdlog::info("the GPU driver answers again");
  if (closes_) {
    close();
  } else {
    take(*round);
  }
  for (const auto& done : std::exchange(reading_, {})) done();
  if (!waiting_.empty() && !is_reading()) turn();
}

void GpuMonitor::take(Round& round) {
  is_open_ = !round.failure;
  if (round.failure || round.inventory) next_open_ns_ = round_ns_ + kOpenPeriod_ms * kMillisecond_ns;
  if (round.failure) {
    if (std::exchange(trouble_, round.failure->message) != round.failure->message)
      spdlog::warn("GPUs: {}; nothing is known of them", trouble_);
    return;
  }
  if (round.inventory) take(std::move(*round.inventory));
  for (auto& read : round.reads) {
    auto& gpu = gpus_[read.index];
    const std::string before = std::exchange(gpu.reading, std::move(read.reading)).trouble;
    gpu.read_ns = read.begun_ns;
    tell(gpu, before);
  }
  for (const auto& event : round.xids) {
    gpus_[event.gpu].count(event.xid);
    spdlog::error("GPU {} ({}): Xid {}", event.gpu, gpus_[event.gpu].identity.uuid, event.xid);
    if (on_xid_) on_xid_(event);
  }
}

void GpuMonitor::take(GpuInventory inventory) {
  trouble_.clear();
  auto before = std::exchange(gpus_, {});
  for (const auto& gpu : inventory.gpus) {
    const auto same = std::find_if(before.begin(), before.end(),
                                   [&](const auto& one) { return one.identity.uuid == gpu.uuid; });
    auto& state = gpus_.emplace_back();
    if (same != before.end()) state = std::move(*same);
    state.identity = gpu;
  }
  if (inventory_ != inventory) {
    spdlog::info("GPUs: {} of driver {}, CUDA {}.{}", gpus_.size(), inventory.driver_version,
                 inventory.cuda_version / 1000, inventory.cuda_version % 1000 / 10);
  }
  inventory_ = std::move(inventory);
}

void GpuMonitor::tell(const GpuState& gpu, const std::string& before) {
  const std::string& trouble = gpu.reading.trouble;
  if (trouble == before) return;
  if (trouble.empty()) {
    spdlog::info("GPU {} ({}) answers again", gpu.identity.index, gpu.identity.uuid);
  } else {
    spdlog::error("GPU {} ({}) does not answer: {}", gpu.identity.index, gpu.identity.uuid, trouble);
  }
}

}  // namespace deepserve::daemon
