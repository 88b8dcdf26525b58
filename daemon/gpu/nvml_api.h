// NVIDIA's Management Library as far as dsd calls it: types, numbers and functions after NVIDIA's public NVML
// API reference, under the names that libnvidia-ml.so.1 exports. Declared here because nvml.h comes with the
// CUDA toolkit, which a host that builds or runs dsd need not have.
#pragma once

#include <cstdint>

namespace deepserve::daemon::nvml {

enum Return : int {
  kSuccess = 0,
  kUninitialized = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNoPermission = 4,
  kNotFound = 6,
  kDriverNotLoaded = 9,
  kTimeout = 10,
  kLibraryNotFound = 12,
  kGpuIsLost = 15,
  kResetRequired = 16,
  kVersionMismatch =
      18,  // of the library and the kernel's driver: one was replaced and the host not restarted
  kUnknown = 999,
};

struct DeviceState;
struct EventSetState;
using Device = DeviceState*;
using EventSet = EventSetState*;

struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;  // what the driver keeps for itself is in here
};

struct Utilization {  // percent of the last sampling period
  unsigned int gpu;
  unsigned int memory;
};

struct EventData {
  Device device;
  unsigned long long event_type;
  unsigned long long event_data;  // of an Xid event its number; 999: not known
  unsigned int gpu_instance;
  unsigned int compute_instance;
};

inline constexpr unsigned long long kXidEvent = 8;
inline constexpr unsigned int kVersionBytes = 80;
inline constexpr unsigned int kNameBytes = 96;
inline constexpr unsigned int kUuidBytes = 96;
inline constexpr int kTemperatureOfGpu = 0;
inline constexpr int kClockOfSm = 1;
inline constexpr int kCorrected = 0, kUncorrected = 1;  // kinds of ECC errors
inline constexpr int kSinceDriverLoad = 0;              // which ECC counters: "volatile"

using uint = unsigned int;
using ulonglong = unsigned long long;

// Field, exported name, parameters, and whether dsd can do without. A driver that lacks one of the latter
// leaves its values unknown.
// clang-format off
#define DEEPSERVE_NVML_TABLE(X) \
  X(init,                   "nvmlInit_v2",                        (), true) \
  X(shutdown,               "nvmlShutdown",                       (), true) \
  X(device_count,           "nvmlDeviceGetCount_v2",              (uint*), true) \
  X(device_by_index,        "nvmlDeviceGetHandleByIndex_v2",      (uint, Device*), true) \
  X(device_uuid,            "nvmlDeviceGetUUID",                  (Device, char*, uint), true) \
  X(device_memory,          "nvmlDeviceGetMemoryInfo",            (Device, Memory*), true) \
  X(driver_version,         "nvmlSystemGetDriverVersion",         (char*, uint), false) \
  X(cuda_version,           "nvmlSystemGetCudaDriverVersion_v2",  (int*), false) \
  X(device_name,            "nvmlDeviceGetName",                  (Device, char*, uint), false) \
  X(compute_capability,     "nvmlDeviceGetCudaComputeCapability", (Device, int*, int*), false) \
  X(utilization,            "nvmlDeviceGetUtilizationRates",      (Device, Utilization*), false) \
  X(temperature,            "nvmlDeviceGetTemperature",           (Device, int, uint*), false) \
  X(power_milliwatts,       "nvmlDeviceGetPowerUsage",            (Device, uint*), false) \
  X(power_limit_milliwatts, "nvmlDeviceGetEnforcedPowerLimit",    (Device, uint*), false) \
  X(ecc_errors,             "nvmlDeviceGetTotalEccErrors",        (Device, int, int, ulonglong*), false) \
  X(clock_megahertz,        "nvmlDeviceGetClockInfo",             (Device, int, uint*), false) \
  X(event_set_create,       "nvmlEventSetCreate",                 (EventSet*), false) \
  X(event_set_free,         "nvmlEventSetFree",                   (EventSet), false) \
  X(register_events,        "nvmlDeviceRegisterEvents",           (Device, ulonglong, EventSet), false) \
  X(event_set_wait,         "nvmlEventSetWait_v2",                (EventSet, EventData*, uint), false)
// clang-format on

// Null where the library has none.
struct Functions {
#define X(field, name, parameters, needed) Return(*field) parameters = nullptr;
  DEEPSERVE_NVML_TABLE(X)
#undef X
  const char* (*error_string)(Return) = nullptr;  // "nvmlErrorString"
};

}  // namespace deepserve::daemon::nvml
