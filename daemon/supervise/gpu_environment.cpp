#include "daemon/supervise/gpu_environment.h"

#include <algorithm>
#include <array>

namespace deepserve::daemon {
namespace {

constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";
constexpr const char* kOrder = "CUDA_DEVICE_ORDER";
constexpr const char* kPipe = "CUDA_MPS_PIPE_DIRECTORY";
constexpr const char* kLog = "CUDA_MPS_LOG_DIRECTORY";
constexpr const char* kThreads = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE";
constexpr const char* kMemory = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT";

bool is_uuid(const std::string& gpu) {
  return gpu.starts_with("GPU-");
}

}  // namespace

std::string mps_pipe_dir(const std::string& directory, const std::string& gpu) {
  return directory + "/" + gpu + "/pipe";
}

std::string mps_log_dir(const std::string& directory, const std::string& gpu) {
  return directory + "/" + gpu + "/log";
}

Environment mps_environment(const std::string& directory, const std::string& gpu,
                            const std::string& visible) {
  return {{kOrder, "PCI_BUS_ID"},
          {kVisible, visible},
          {kPipe, mps_pipe_dir(directory, gpu)},
          {kLog, mps_log_dir(directory, gpu)}};
}

Environment runner_environment(const std::string& directory, const DeviceConfig& device,
                               const std::string& visible, bool is_client) {
  Environment environment = {{kOrder, "PCI_BUS_ID"}};
  if (!is_client) {
    environment.emplace_back(kVisible, visible);
    environment.emplace_back(kPipe, directory + "/none");  // which is not there: nobody answers
    return environment;
  }
  environment.emplace_back(kVisible, is_uuid(visible) ? visible : "0");
  environment.emplace_back(kPipe, mps_pipe_dir(directory, device.gpu));
  environment.emplace_back(kLog, mps_log_dir(directory, device.gpu));
  environment.emplace_back(kThreads, std::to_string(device.thread_percent));
  if (device.memory_limit_bytes != 0) {
    environment.emplace_back(kMemory, fmt::format("0={}M", device.memory_limit_bytes >> 20));
  }
  return environment;
}

bool is_gpu_variable(std::string_view name) {
  constexpr std::array kAll = {kVisible, kOrder, kPipe, kLog, kThreads, kMemory};
  return std::find(kAll.begin(), kAll.end(), name) != kAll.end();
}

}  // namespace deepserve::daemon
