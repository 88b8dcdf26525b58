// A libnvidia-ml.so.1 without a GPU: what it answers stands in a file (gpu_file.h) that a test changes.
//
//   driver_version, cuda_version, gpus       of the whole; 580.65.06, 13000 and 1 unless given
//   gpu.N.uuid|name|memory_total|capability  of one, and what is read of it: memory_used, utilization,
//                                            memory_utilization, temperature, power, power_limit, clock,
//                                            ecc_corrected, ecc_uncorrected; without a line NOT_SUPPORTED
//   gpu.N.error CODE                         all that is asked of this one fails; "lost": also its handle
//   error.FUNCTION CODE                      this function fails
//   delay_ms N                               each call of the driver takes so long
//   xid N NUMBER                             one event for each line, in their order
#include <unistd.h>

#include <cstring>
#include <string>

#include "daemon/gpu/nvml_api.h"
#include "tests/fakes/nvml/gpu_file.h"

namespace nvml = deepserve::daemon::nvml;
using fake_nvml::GpuFile;
using nvml::Device;
using nvml::EventSet;
using nvml::Return;

namespace {

constexpr unsigned kGpusMax = 16;
char gpus[kGpusMax];  // a handle points to its GPU's place
int initialised = 0;  // so many times, and not shut down again

unsigned index_of(Device device) {
  return static_cast<unsigned>(reinterpret_cast<char*>(device) - gpus);
}

std::string key(Device device, const char* name) {
  return "gpu." + std::to_string(index_of(device)) + "." + name;
}

// What a call gives before it looks at anything: takes its time, and fails where the file says so.
Return begin(const GpuFile& file, const char* function) {
  ::usleep(static_cast<useconds_t>(file.number("delay_ms").value_or(0) * 1000));
  if (const auto code = file.number(std::string("error.") + function)) return static_cast<Return>(*code);
  const bool is_init = std::strcmp(function, "nvmlInit_v2") == 0;
  return initialised > 0 || is_init ? nvml::kSuccess : nvml::kUninitialized;
}

Return begin(const GpuFile& file, const char* function, Device device) {
  if (const auto status = begin(file, function); status != nvml::kSuccess) return status;
  return static_cast<Return>(file.number(key(device, "error")).value_or(nvml::kSuccess));
}

template <typename Value>
Return number(const char* function, Device device, const char* name, Value* value) {
  const auto file = GpuFile::read();
  if (const auto status = begin(file, function, device); status != nvml::kSuccess) return status;
  const auto found = file.number(key(device, name));
  if (!found) return nvml::kNotSupported;
  *value = static_cast<Value>(*found);
  return nvml::kSuccess;
}

Return copy(const std::string& text, char* out, unsigned bytes) {
  if (text.size() >= bytes) return nvml::kInvalidArgument;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return nvml::kSuccess;
}

Return text(const char* function, Device device, const char* name, const std::string& otherwise, char* out,
            unsigned bytes) {
  const auto file = GpuFile::read();
  if (const auto status = begin(file, function, device); status != nvml::kSuccess) return status;
  return copy(file.text(key(device, name)).value_or(otherwise), out, bytes);
}

}  // namespace

extern "C" {

Return nvmlInit_v2() {
  const auto status = begin(GpuFile::read(), __func__);
  if (status == nvml::kSuccess) ++initialised;
  return status;
}

Return nvmlShutdown() {
  const auto status = begin(GpuFile::read(), __func__);
  if (status == nvml::kSuccess) --initialised;
  return status;
}

Return nvmlDeviceGetCount_v2(unsigned* count) {
  const auto file = GpuFile::read();
  const auto status = begin(file, __func__);
  *count = static_cast<unsigned>(file.number("gpus").value_or(1));
  return status;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* device) {
  const auto file = GpuFile::read();
  const auto count = static_cast<unsigned>(file.number("gpus").value_or(1));
  if (index >= count || index >= kGpusMax) return nvml::kInvalidArgument;
  *device = reinterpret_cast<Device>(&gpus[index]);
  if (file.text(key(*device, "error")) == "lost") return nvml::kGpuIsLost;
  return begin(file, __func__);
}

Return nvmlDeviceGetUUID(Device device, char* out, unsigned bytes) {
  return text(__func__, device, "uuid", "GPU-" + std::to_string(index_of(device)), out, bytes);
}

Return nvmlDeviceGetMemoryInfo(Device device, nvml::Memory* memory) {
  const auto file = GpuFile::read();
  if (const auto status = begin(file, __func__, device); status != nvml::kSuccess) return status;
  memory->total = file.number(key(device, "memory_total")).value_or(0);
  memory->used = file.number(key(device, "memory_used")).value_or(0);
  memory->free = memory->total - memory->used;
  return nvml::kSuccess;
}

#ifndef FAKE_NVML_OLD

const char* nvmlErrorString(Return status) {
  switch (status) {
    case nvml::kGpuIsLost:
      return "GPU is lost";
    case nvml::kDriverNotLoaded:
      return "Driver Not Loaded";
    default:
      return "Some Error";
  }
}

Return nvmlSystemGetDriverVersion(char* out, unsigned bytes) {
  const auto file = GpuFile::read();
  if (const auto status = begin(file, __func__); status != nvml::kSuccess) return status;
  return copy(file.text("driver_version").value_or("580.65.06"), out, bytes);
}

Return nvmlSystemGetCudaDriverVersion_v2(int* version) {
  const auto file = GpuFile::read();
  *version = static_cast<int>(file.number("cuda_version").value_or(13000));
  return begin(file, __func__);
}

Return nvmlDeviceGetName(Device device, char* out, unsigned bytes) {
  return text(__func__, device, "name", "Fake GPU", out, bytes);
}

Return nvmlDeviceGetCudaComputeCapability(Device device, int* major, int* minor) {
  int both = 0;
  const auto status = number(__func__, device, "capability", &both);
  *major = both / 10;
  *minor = both % 10;
  return status;
}

Return nvmlDeviceGetUtilizationRates(Device device, nvml::Utilization* rates) {
  const auto status = number(__func__, device, "utilization", &rates->gpu);
  return status == nvml::kSuccess ? number(__func__, device, "memory_utilization", &rates->memory) : status;
}

Return nvmlDeviceGetTemperature(Device device, int sensor, unsigned* celsius) {
  if (sensor != nvml::kTemperatureOfGpu) return nvml::kInvalidArgument;
  return number(__func__, device, "temperature", celsius);
}

Return nvmlDeviceGetPowerUsage(Device device, unsigned* milliwatts) {
  return number(__func__, device, "power", milliwatts);
}

Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned* milliwatts) {
  return number(__func__, device, "power_limit", milliwatts);
}

Return nvmlDeviceGetTotalEccErrors(Device device, int kind, int counter, unsigned long long* errors) {
  if (counter != nvml::kSinceDriverLoad) return nvml::kInvalidArgument;
  return number(__func__, device, kind == nvml::kCorrected ? "ecc_corrected" : "ecc_uncorrected", errors);
}

Return nvmlDeviceGetClockInfo(Device device, int clock, unsigned* megahertz) {
  if (clock != nvml::kClockOfSm) return nvml::kInvalidArgument;
  return number(__func__, device, "clock", megahertz);
}

static char event_set;
static size_t xids_told = 0;

Return nvmlEventSetCreate(EventSet* set) {
  *set = reinterpret_cast<EventSet>(&event_set);
  return begin(GpuFile::read(), __func__);
}

Return nvmlEventSetFree(EventSet) {
  return begin(GpuFile::read(), __func__);
}

Return nvmlDeviceRegisterEvents(Device device, unsigned long long types, EventSet) {
  if (types != nvml::kXidEvent) return nvml::kInvalidArgument;
  return begin(GpuFile::read(), __func__, device);
}

Return nvmlEventSetWait_v2(EventSet, nvml::EventData* event, unsigned) {
  const auto file = GpuFile::read();
  if (const auto status = begin(file, __func__); status != nvml::kSuccess) return status;
  if (xids_told >= file.xids().size()) return nvml::kTimeout;
  const auto& xid = file.xids()[xids_told++];
  *event = {reinterpret_cast<Device>(&gpus[xid.gpu]), nvml::kXidEvent, xid.number, ~0u, ~0u};
  return nvml::kSuccess;
}

#endif

}  // extern "C"
