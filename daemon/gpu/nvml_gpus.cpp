#include "daemon/gpu/nvml_gpus.h"

#include <dlfcn.h>

#include <array>
#include <utility>

#include "daemon/gpu/nvml_api.h"

namespace deepserve::daemon {
namespace {

using nvml::Return;

constexpr const char* kLibrary = "libnvidia-ml.so.1";
constexpr uint32_t kGpusMax = 64;  // more than any host has: a driver that says so is not believed
constexpr size_t kXidsMax = 256;   // in one take: a driver that has always one more does not hold us up

// The loaded library, initialised for as long as this lives.
class Library {
 public:
  static Result<std::unique_ptr<Library>> open();
  ~Library() {
    if (initialised_) functions_.shutdown();
    ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const nvml::Functions& functions() const { return functions_; }
  std::string text(Return status) const {
    const char* words = functions_.error_string == nullptr ? nullptr : functions_.error_string(status);
    return words == nullptr ? fmt::format("NVML error {}", static_cast<int>(status))
                            : fmt::format("{} (NVML error {})", words, static_cast<int>(status));
  }

 private:
  explicit Library(void* handle) : handle_(handle) {}
  template <typename Function>
  void look_up(Function& function, const char* name) {
    function = reinterpret_cast<Function>(::dlsym(handle_, name));
  }
  Result<void> look_up_all();

  void* const handle_;
  nvml::Functions functions_;
  bool initialised_ = false;
};

Result<void> Library::look_up_all() {
  const char* missing = nullptr;
#define X(field, name, parameters, needed) \
  look_up(functions_.field, name);         \
  if (needed && functions_.field == nullptr) missing = name;
  DEEPSERVE_NVML_TABLE(X)
#undef X
  look_up(functions_.error_string, "nvmlErrorString");
  if (missing != nullptr) return fail(Code::kIo, "{} has no {}", kLibrary, missing);
  return {};
}

Result<std::unique_ptr<Library>> Library::open() {
  void* handle = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return fail(Code::kNotFound, "there is no NVIDIA driver here: {}", ::dlerror());
  std::unique_ptr<Library> library(new Library(handle));
  TRY(library->look_up_all());
  const Return status = library->functions_.init();
  if (status == nvml::kDriverNotLoaded || status == nvml::kLibraryNotFound) {
    return fail(Code::kNotFound, "the NVIDIA driver is not loaded: {}", library->text(status));
  }
  if (status != nvml::kSuccess)
    return fail(Code::kIo, "the NVIDIA driver does not work: {}", library->text(status));
  library->initialised_ = true;
  return library;
}

// Calls a function that the library may lack. Nothing: it does, or it failed.
template <typename Value, typename Function, typename... Arguments>
std::optional<Value> ask(Function function, Arguments... arguments) {
  Value value{};
  if (function == nullptr || function(arguments..., &value) != nvml::kSuccess) return std::nullopt;
  return value;
}

template <size_t kBytes, typename Function, typename... Arguments>
std::string ask_text(Function function, Arguments... arguments) {
  std::array<char, kBytes> text{};
  if (function == nullptr || function(arguments..., text.data(), kBytes) != nvml::kSuccess) return {};
  text.back() = '\0';
  return text.data();
}

template <typename To, typename From>
std::optional<To> scaled(const std::optional<From>& value, To factor) {
  if (!value) return std::nullopt;
  return static_cast<To>(*value) * factor;
}

class NvmlGpus final : public Gpus {
 public:
  explicit NvmlGpus(std::unique_ptr<Library> library)
      : library_(std::move(library)), functions_(library_->functions()) {}
  ~NvmlGpus() override {
    if (events_ != nullptr && functions_.event_set_free != nullptr) functions_.event_set_free(events_);
  }

  Result<void> find();
  const GpuInventory& inventory() const override { return inventory_; }
  GpuReading read(uint32_t index) override;
  std::vector<XidEvent> take_xids() override;

 private:
  void listen_for_xids();
  std::optional<uint32_t> index_of(nvml::Device device) const;

  const std::unique_ptr<Library> library_;
  const nvml::Functions& functions_;
  GpuInventory inventory_;
  std::vector<nvml::Device> devices_;  // by index; null: lost before we came
  nvml::EventSet events_ = nullptr;    // null: this driver tells of none
};

Result<void> NvmlGpus::find() {
  inventory_.driver_version = ask_text<nvml::kVersionBytes>(functions_.driver_version);
  const auto cuda = ask<int>(functions_.cuda_version);
  if (cuda && *cuda > 0) inventory_.cuda_version = static_cast<uint32_t>(*cuda);
  unsigned int count = 0;
  if (const Return status = functions_.device_count(&count); status != nvml::kSuccess) {
    return fail(Code::kIo, "the NVIDIA driver does not say how many GPUs there are: {}",
                library_->text(status));
  }
  if (count > kGpusMax)
    return fail(Code::kIo, "the NVIDIA driver tells of {} GPUs: at most {}", count, kGpusMax);
  for (unsigned int index = 0; index < count; ++index) {
    auto& gpu = inventory_.gpus.emplace_back();
    gpu.index = index;
    nvml::Device device = nullptr;
    if (functions_.device_by_index(index, &device) != nvml::kSuccess) device = nullptr;
    devices_.push_back(device);
    if (device == nullptr) continue;
    gpu.uuid = ask_text<nvml::kUuidBytes>(functions_.device_uuid, device);
    gpu.name = ask_text<nvml::kNameBytes>(functions_.device_name, device);
    if (const auto memory = ask<nvml::Memory>(functions_.device_memory, device))
      gpu.memory_bytes = memory->total;
    int major = 0;
    int minor = 0;
    if (functions_.compute_capability != nullptr &&
        functions_.compute_capability(device, &major, &minor) == nvml::kSuccess) {
      gpu.capability = static_cast<uint32_t>(10 * major + minor);
    }
  }
  listen_for_xids();
  return {};
}

void NvmlGpus::listen_for_xids() {
  if (functions_.event_set_create == nullptr || functions_.register_events == nullptr ||
      functions_.event_set_wait == nullptr || functions_.event_set_create(&events_) != nvml::kSuccess) {
    events_ = nullptr;
    return;
  }
  for (const auto device : devices_) {  // one that cannot tell is told of by the others all the same
    if (device != nullptr) (void)functions_.register_events(device, nvml::kXidEvent, events_);
  }
}

GpuReading NvmlGpus::read(uint32_t index) {
  GpuReading reading;
  const nvml::Device device = index < devices_.size() ? devices_[index] : nullptr;
  if (device == nullptr) {
    reading.trouble = library_->text(nvml::kGpuIsLost);
    return reading;
  }
  // Every GPU has memory: what this answers is whether the GPU answers.
  nvml::Memory memory{};
  if (const Return status = functions_.device_memory(device, &memory); status != nvml::kSuccess) {
    reading.trouble = library_->text(status);
    return reading;
  }
  reading.memory_used_bytes = memory.used;
  reading.memory_free_bytes = memory.free;
  if (const auto rates = ask<nvml::Utilization>(functions_.utilization, device)) {
    reading.utilization = rates->gpu / 100.0;
    reading.memory_utilization = rates->memory / 100.0;
  }
  reading.temperature_celsius = ask<unsigned int>(functions_.temperature, device, nvml::kTemperatureOfGpu);
  reading.power_watts = scaled(ask<unsigned int>(functions_.power_milliwatts, device), 1e-3);
  reading.power_limit_watts = scaled(ask<unsigned int>(functions_.power_limit_milliwatts, device), 1e-3);
  reading.sm_clock_hz =
      scaled(ask<unsigned int>(functions_.clock_megahertz, device, nvml::kClockOfSm), uint64_t{1'000'000});
  const auto ecc = [&](int kind) {
    return ask<unsigned long long>(functions_.ecc_errors, device, kind, nvml::kSinceDriverLoad);
  };
  reading.ecc_corrected = ecc(nvml::kCorrected);
  reading.ecc_uncorrected = ecc(nvml::kUncorrected);
  return reading;
}

std::vector<XidEvent> NvmlGpus::take_xids() {
  std::vector<XidEvent> xids;
  nvml::EventData event{};
  constexpr unsigned int kNoWait_ms = 0;
  while (events_ != nullptr && xids.size() < kXidsMax &&
         functions_.event_set_wait(events_, &event, kNoWait_ms) == nvml::kSuccess) {
    if (event.event_type != nvml::kXidEvent) continue;
    if (const auto index = index_of(event.device)) xids.push_back({*index, event.event_data});
  }
  return xids;
}

// A device may have several handles.
std::optional<uint32_t> NvmlGpus::index_of(nvml::Device device) const {
  for (uint32_t index = 0; index < devices_.size(); ++index) {
    if (devices_[index] == device) return index;
  }
  const auto* gpu = inventory_.find(ask_text<nvml::kUuidBytes>(functions_.device_uuid, device));
  return gpu == nullptr ? std::nullopt : std::optional(gpu->index);
}

}  // namespace

Result<std::unique_ptr<Gpus>> open_nvml_gpus() {
  TRY_ASSIGN(auto library, Library::open());
  auto gpus = std::make_unique<NvmlGpus>(std::move(library));
  TRY(gpus->find());
  return gpus;
}

}  // namespace deepserve::daemon
