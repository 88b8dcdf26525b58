#include "daemon/config/device_section.h"

#include <algorithm>
#include <optional>
#include <set>

#include "daemon/config/gpu_check.h"
#include "ipc/rank_group/group_memory.h"

namespace deepserve::daemon {
namespace {

constexpr uint32_t kGpusMax = 256;

// As the driver writes it: "GPU-" and 8-4-4-4-12 hex digits in lower case. Nothing: it is no UUID.
std::optional<std::string> gpu_uuid(std::string_view text) {
  constexpr std::string_view kForm = "gpu-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != kForm.size()) return std::nullopt;
  std::string uuid;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (kForm[i] == 'x' ? !is_digit : c != kForm[i]) return std::nullopt;
    uuid += c;
  }
  return "GPU" + uuid.substr(3);
}

void hold_against(Section& section, const DeviceConfig& device, const std::vector<DeviceConfig>& others,
                  const Result<GpuInventory>& gpus) {
  for (const auto& finding : check_gpu(device, others, gpus)) {
    const auto text = fmt::format("device.{}: {}", finding.key, finding.text);
    const auto* node = section.take(finding.key);
    finding.refuses ? section.problem(node, text) : section.warning(node, text);
  }
}

void read_gpu(Section& section, const std::vector<DeviceConfig>& others, DeviceConfig& device) {
  section.read_integer("thread_percent", 1, 100, device.thread_percent);
  section.read("allow_jit", device.allow_jit);
  const auto* node = section.require("gpu");
  if (node == nullptr) return;
  if (node->is_integer()) {
    uint32_t number = 0;
    section.read_integer("gpu", 0, kGpusMax - 1, number);
    device.gpu = std::to_string(number);
  } else {
    const auto uuid = node->is_string() ? gpu_uuid(*node->value<std::string>()) : std::nullopt;
    if (!uuid) {
      return section.problem(node,
                             "device.gpu: this is no GPU: its number, or its whole UUID (\"GPU-\" and 32 hex "
                             "digits), as `nvidia-smi -L` shows them");
    }
    device.gpu = *uuid;
  }
  // Which number has which UUID only the driver knows: one GPU under two names would be shared unawares.
  for (const auto& other : others) {
    if (other.gpu.empty() || other.gpu.starts_with("GPU-") == device.gpu.starts_with("GPU-")) continue;
    return section.problem(node, fmt::format("device.gpu: '{}' names its GPU by {}: name all in the same way",
                                             other.name, node->is_integer() ? "UUID" : "number"));
  }
}

void read_cores(Section& section, const std::vector<uint32_t>& cpuset, std::vector<uint32_t>& cores) {
  const auto* node = section.take("cores");
  section.read_integers("cores", 8191, cores);
  std::set<uint32_t> seen;
  for (const uint32_t core : cores) {
    if (std::find(cpuset.begin(), cpuset.end(), core) == cpuset.end()) {
      section.problem(node, fmt::format("device.cores: core {} is not in this host's cpuset ({})", core,
                                        fmt::join(cpuset, ",")));
    }
    if (!seen.insert(core).second) {
      section.problem(node, fmt::format("device.cores: core {} is there twice", core));
    }
  }
  if (node != nullptr && node->is_array() && node->as_array()->empty()) {
    section.problem(node, "device.cores: the list is empty");
  }
  if (node == nullptr) cores = cpuset;
}

}  // namespace

void read_device_keys(Section& section, const ConfigSurroundings& surroundings,
                      const std::vector<DeviceConfig>& others, DeviceConfig& device) {
  const auto* kind_node = section.require("kind");
  section.read("kind", device.kind);
  if (device.is_gpu()) {
    read_gpu(section, others, device);
  } else if (kind_node != nullptr && kind_node->is_string() && device.kind != "cpu") {
    section.problem(kind_node,
                    fmt::format("device.kind: '{}' is not known: \"cpu\" or \"cuda\"", device.kind));
  }
  read_cores(section, surroundings.cpuset, device.cores);
  section.read_size("memory_limit", 16 << 20, uint64_t{1} << 50, device.memory_limit_bytes);
  if (!device.gpu.empty() && surroundings.gpus) hold_against(section, device, others, surroundings.gpus());
}

// Ranks exchange what only their own kind of device has, and NCCL takes whole GPUs, without MPS.
std::string group_trouble(const Config& config, const ModelConfig& model) {
  if (model.devices.front().is_gpu() && model.tensor_parallel > ipc::kGpuRanksMax) {
    return fmt::format("a model can be spread over {} GPUs at most", ipc::kGpuRanksMax);
  }
  for (const auto& device : model.devices) {
    const auto& first = model.devices.front();
    if (device.kind != first.kind) {
      return fmt::format("'{}' and '{}' are devices of different kinds", first.name, device.name);
    }
    if (!device.is_gpu() || !config.is_shared(device.gpu)) continue;
    return fmt::format("a rank takes a whole GPU, and that of device '{}' ({}) is shared", device.name,
                       device.gpu);
  }
  return {};
}

}  // namespace deepserve::daemon
