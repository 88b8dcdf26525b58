#include "daemon/config/gpu_check.h"

#include <gmock/gmock.h>

namespace deepserve::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kGiB = 1ull << 30;

GpuInventory two_gpus() {
  return {"580.65",
          13'000,
          {{.index = 0, .uuid = "GPU-a", .name = "NVIDIA H200", .memory_bytes = 140 * kGiB},
           {.index = 1, .uuid = "GPU-b", .name = "NVIDIA H200", .memory_bytes = 140 * kGiB}}};
}

DeviceConfig device(const std::string& gpu, uint64_t memory_limit_bytes = 0) {
  DeviceConfig one;
  one.kind = "cuda";
  one.gpu = gpu;
  one.memory_limit_bytes = memory_limit_bytes;
  return one;
}

// The only finding.
GpuFinding finding(const DeviceConfig& one, const Result<GpuInventory>& gpus) {
  const auto findings = check_gpu(one, {}, gpus);
  EXPECT_THAT(findings, SizeIs(1));
  return findings.empty() ? GpuFinding{} : findings.front();
}

TEST(GpuCheck, OneThatIsThereAndIsEnoughPasses) {
  for (const auto* name : {"0", "1", "GPU-a", "GPU-b"}) {
    EXPECT_THAT(check_gpu(device(name, 140 * kGiB), {}, two_gpus()), IsEmpty()) << name;
  }
}

TEST(GpuCheck, OneThatIsNotThereIsRefusedWithAListOfThoseThatAre) {
  for (const auto* name : {"2", "GPU-c"}) {
    const auto found = finding(device(name), two_gpus());
    EXPECT_TRUE(found.refuses);
    EXPECT_EQ(found.key, "gpu");
    EXPECT_THAT(found.text, HasSubstr(std::string("there is no GPU ") + name));
    EXPECT_THAT(found.text, HasSubstr("there are: 0 GPU-a NVIDIA H200, 1 GPU-b NVIDIA H200"));
  }
  EXPECT_THAT(finding(device("0"), GpuInventory{"580", 13'000, {}}).text, HasSubstr("there is none here"));
}

TEST(GpuCheck, AnOldDriverIsRefusedWithBothVersions) {
  auto gpus = two_gpus();
  gpus.driver_version = "535.104";
  gpus.cuda_version = 12'020;
  const auto found = finding(device("0"), gpus);
  EXPECT_TRUE(found.refuses);
  EXPECT_THAT(found.text, HasSubstr("driver 535.104 is too old: it runs CUDA 12.2, and 13.0 is needed"));
}

TEST(GpuCheck, MoreMemoryThanTheCardHasIsRefusedWithTheSizes) {
  const auto found = finding(device("1", 141 * kGiB), two_gpus());
  EXPECT_TRUE(found.refuses);
  EXPECT_EQ(found.key, "memory_limit");
  EXPECT_THAT(found.text, HasSubstr("141.00 GiB is more than the 140.00 GiB that GPU 1 (NVIDIA H200) has"));
}

TEST(GpuCheck, LimitsThatAreTogetherMoreThanTheCardAreWarnedOfByName) {
  std::vector<DeviceConfig> others = {device("0", 70 * kGiB), device("1", 139 * kGiB), device("0")};
  others[0].name = "first";
  others[1].name = "elsewhere";
  others[2].name = "without a limit";
  EXPECT_THAT(check_gpu(device("0", 70 * kGiB), others, two_gpus()), IsEmpty()) << "as much as there is";
  EXPECT_THAT(check_gpu(device("0"), others, two_gpus()), IsEmpty());
  const auto findings = check_gpu(device("0", 71 * kGiB), others, two_gpus());
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].refuses);
  EXPECT_EQ(findings[0].key, "memory_limit");
  EXPECT_THAT(findings[0].text,
              HasSubstr("with 'first' the limits are 141.00 GiB together, more than the 140.00 GiB "
                        "that GPU 0 (NVIDIA H200) has"));
  auto unknown = two_gpus();
  unknown.gpus[0].memory_bytes = 0;
  EXPECT_THAT(check_gpu(device("0", 71 * kGiB), others, unknown), IsEmpty());
}

TEST(GpuCheck, AllThatIsWrongIsSaid) {
  auto gpus = two_gpus();
  gpus.cuda_version = 12'000;
  EXPECT_THAT(check_gpu(device("1", 141 * kGiB), {}, gpus), SizeIs(2));
}

TEST(GpuCheck, WhatTheDriverCannotTellIsNotRefused) {
  auto lost = two_gpus();
  lost.gpus[1] = {.index = 1};
  auto silent = two_gpus();
  silent.cuda_version = 0;
  const Result<GpuInventory> none = fail(Code::kNotFound, "there is no NVIDIA driver here");
  const std::vector<std::pair<const char*, Result<GpuInventory>>> unknown = {
      {"0", none}, {"1", lost}, {"GPU-b", lost}, {"0", silent}};
  for (const auto& [name, gpus] : unknown) {
    const auto found = finding(device(name), gpus);
    EXPECT_FALSE(found.refuses) << found.text;
    EXPECT_THAT(found.text, HasSubstr("cannot be checked: "));
  }
  EXPECT_TRUE(finding(device("2"), lost).refuses) << "no GPU has this number, lost or not";
  EXPECT_THAT(check_gpu(device("0"), {}, lost), IsEmpty());
}

}  // namespace
}  // namespace deepserve::daemon
