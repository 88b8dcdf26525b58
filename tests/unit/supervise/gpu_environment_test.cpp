#include "daemon/supervise/gpu_environment.h"

#include <gtest/gtest.h>

#include <map>

namespace deepserve::daemon {
namespace {

using Variables = std::map<std::string, std::string>;

Variables variables(const Environment& environment) {
  return {environment.begin(), environment.end()};
}

const std::string kUuid = "GPU-8f3a0000-1111-2222-3333-44445555abcd";

DeviceConfig device(const std::string& gpu) {
  DeviceConfig device;
  device.kind = "cuda";
  device.gpu = gpu;
  device.thread_percent = 40;
  device.memory_limit_bytes = uint64_t{8} << 30;
  return device;
}

TEST(GpuEnvironment, ARunnerThatHasItsGpuAloneSeesThatGpuAndNoMps) {
  const auto found = variables(runner_environment("/run/mps", device("3"), "3", false));
  EXPECT_EQ(found, (Variables{{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"},
                              {"CUDA_VISIBLE_DEVICES", "3"},
                              {"CUDA_MPS_PIPE_DIRECTORY", "/run/mps/none"}}));
}

TEST(GpuEnvironment, AClientHasItsShareOfThreadsAndMemory) {
  const auto found = variables(runner_environment("/run/mps", device(kUuid), kUuid, true));
  EXPECT_EQ(found, (Variables{{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"},
                              {"CUDA_VISIBLE_DEVICES", kUuid},
                              {"CUDA_MPS_PIPE_DIRECTORY", "/run/mps/" + kUuid + "/pipe"},
                              {"CUDA_MPS_LOG_DIRECTORY", "/run/mps/" + kUuid + "/log"},
                              {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "40"},
                              {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "0=8192M"}}));
}

TEST(GpuEnvironment, AClientOfADaemonThatHasAGpuByItsNumberSeesItAsTheFirst) {
  EXPECT_EQ(variables(mps_environment("/run/mps", "3", "3"))["CUDA_VISIBLE_DEVICES"], "3");
  EXPECT_EQ(variables(runner_environment("/run/mps", device("3"), "3", true))["CUDA_VISIBLE_DEVICES"], "0");
}

TEST(GpuEnvironment, WhereTheDriverTellsTheUuidBothGetThatAndTheFilesKeepTheirPlace) {
  auto found = variables(mps_environment("/run/mps", "3", kUuid));
  EXPECT_EQ(found["CUDA_VISIBLE_DEVICES"], kUuid);
  EXPECT_EQ(found["CUDA_MPS_PIPE_DIRECTORY"], "/run/mps/3/pipe");
  found = variables(runner_environment("/run/mps", device("3"), kUuid, true));
  EXPECT_EQ(found["CUDA_VISIBLE_DEVICES"], kUuid);
  EXPECT_EQ(found["CUDA_MPS_PIPE_DIRECTORY"], "/run/mps/3/pipe");
}

TEST(GpuEnvironment, NoMemoryLimitIsSetWhereNoneIsConfigured) {
  auto unlimited = device("0");
  unlimited.memory_limit_bytes = 0;
  EXPECT_EQ(variables(runner_environment("/run/mps", unlimited, "0", true))
                .count("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"),
            0u);
}

TEST(GpuEnvironment, WhatItSetsIsWhatNobodyInherits) {
  for (const auto& [name, value] : runner_environment("/run/mps", device("3"), "3", true))
    EXPECT_TRUE(is_gpu_variable(name)) << name;
  EXPECT_FALSE(is_gpu_variable("CUDA_CACHE_PATH"));
  EXPECT_FALSE(is_gpu_variable("PATH"));
}

}  // namespace
}  // namespace deepserve::daemon
