// The GPUs of this host as their driver tells of them: plain values, and the one interface by which they are
// asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::daemon {

// What does not change of a GPU while the driver is loaded.
struct GpuIdentity {
  uint32_t index = 0;  // the driver's order, by PCI address; CUDA's own may be another: name the UUID to it
  std::string uuid = {};      // "GPU-8f3a..."; empty: it is lost, and had been when it was first asked
  std::string name = {};      // "NVIDIA H200"; empty: not known
  uint64_t memory_bytes = 0;  // 0: not known
  uint32_t capability = 0;    // of compute, 90 for 9.0; 0: not known

  bool operator==(const GpuIdentity&) const = default;
};

struct GpuInventory {
  std::string driver_version = {};     // "580.65.06"; empty: not known
  uint32_t cuda_version = 0;           // the newest that the driver runs, 13000 for 13.0; 0: not known
  std::vector<GpuIdentity> gpus = {};  // each at its index

  bool operator==(const GpuInventory&) const = default;
  // Null: there is none.
  const GpuIdentity* find(uint32_t index) const;
  const GpuIdentity* find(std::string_view uuid) const;
  // As a configuration names it: by its UUID, or by its index in decimal digits.
  const GpuIdentity* named(std::string_view name) const;
};

// One GPU at one moment. What the driver does not tell is nothing.
struct GpuReading {
  std::optional<double> utilization = {};         // 0 to 1: of the last sampling period, some kernel ran
  std::optional<double> memory_utilization = {};  // 0 to 1: of it, memory was read or written
  std::optional<uint64_t> memory_used_bytes = {};
  std::optional<uint64_t> memory_free_bytes = {};
  std::optional<uint32_t> temperature_celsius = {};
  std::optional<double> power_watts = {};
  std::optional<double> power_limit_watts = {};
  std::optional<uint64_t> ecc_corrected = {};  // since the driver was loaded
  std::optional<uint64_t> ecc_uncorrected = {};
  std::optional<uint64_t> sm_clock_hz = {};
  std::string trouble = {};  // why it does not answer; empty: it does
};

// The driver says that a GPU, or what ran on it, is in trouble; numbers after NVIDIA's list of Xid errors.
struct XidEvent {
  uint32_t gpu = 0;  // its index
  uint64_t xid = 0;

  bool operator==(const XidEvent&) const = default;
};

// Every call may block for as long as a driver pleases: never on the loop's thread but before the loop runs.
// One thread at a time.
class Gpus {
 public:
  virtual ~Gpus() = default;
  virtual const GpuInventory& inventory() const = 0;
  // Of one of the inventory.
  virtual GpuReading read(uint32_t index) = 0;
  // That have come since the last call, the oldest first.
  virtual std::vector<XidEvent> take_xids() = 0;
};

using OpenGpus = Result<std::unique_ptr<Gpus>> (*)();

}  // namespace deepserve::daemon
