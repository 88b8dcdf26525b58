// libnvidia-ml.so.1 as dsd opens it. LD_LIBRARY_PATH says which one there is; each suite is for one of them.
#include "daemon/gpu/nvml_gpus.h"

#include <gmock/gmock.h>

#include "tests/unit/gpu/fake_driver.h"

namespace deepserve::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kH200 =
    "gpu.0.uuid GPU-8f3a\ngpu.0.name NVIDIA H200\ngpu.0.capability 90\n"
    "gpu.0.memory_total 150000000000\ngpu.0.memory_used 50000000000\n"
    "gpu.0.utilization 75\ngpu.0.memory_utilization 40\ngpu.0.temperature 61\n"
    "gpu.0.power 412500\ngpu.0.power_limit 700000\ngpu.0.clock 1980\n"
    "gpu.0.ecc_corrected 3\ngpu.0.ecc_uncorrected 0\n";

std::unique_ptr<Gpus> opened() {
  auto gpus = open_nvml_gpus();
  EXPECT_TRUE(gpus.has_value()) << gpus.error().message;
  return gpus ? std::move(*gpus) : nullptr;
}

TEST(WholeDriver, TellsWhatGpusThereAre) {
  FakeDriver driver;
  driver.write(kH200);
  const auto gpus = opened();
  const GpuInventory& inventory = gpus->inventory();
  EXPECT_EQ(inventory.driver_version, "580.65.06");
  EXPECT_EQ(inventory.cuda_version, 13000u);
  EXPECT_THAT(inventory.gpus, ElementsAre(GpuIdentity{0, "GPU-8f3a", "NVIDIA H200", 150'000'000'000, 90}));
  EXPECT_EQ(inventory.find(0), inventory.find("GPU-8f3a"));
  EXPECT_EQ(inventory.find(1), nullptr);
  EXPECT_EQ(inventory.find("GPU-0000"), nullptr);
}

TEST(WholeDriver, TellsWhatAGpuDoes) {
  FakeDriver driver;
  driver.write(kH200);
  const auto reading = opened()->read(0);
  EXPECT_EQ(reading.trouble, "");
  EXPECT_EQ(reading.utilization, 0.75);
  EXPECT_EQ(reading.memory_utilization, 0.4);
  EXPECT_EQ(reading.memory_used_bytes, 50'000'000'000u);
  EXPECT_EQ(reading.memory_free_bytes, 100'000'000'000u);
  EXPECT_EQ(reading.temperature_celsius, 61u);
  EXPECT_EQ(reading.power_watts, 412.5);
  EXPECT_EQ(reading.power_limit_watts, 700.0);
  EXPECT_EQ(reading.sm_clock_hz, 1'980'000'000u);
  EXPECT_EQ(reading.ecc_corrected, 3u);
  EXPECT_EQ(reading.ecc_uncorrected, 0u);
}

TEST(WholeDriver, LeavesUnknownWhatAGpuDoesNotSupport) {
  FakeDriver driver;
  driver.write("gpu.0.memory_total 1000\ngpu.0.power 5000\nerror.nvmlDeviceGetPowerUsage 4\n");
  const auto reading = opened()->read(0);
  EXPECT_EQ(reading.trouble, "");
  EXPECT_EQ(reading.memory_free_bytes, 1000u);
  EXPECT_EQ(reading.ecc_corrected, std::nullopt);
  EXPECT_EQ(reading.power_watts, std::nullopt);
  EXPECT_EQ(reading.utilization, std::nullopt);
}

TEST(WholeDriver, AGpuThatIsLostWhileItIsReadSaysSo) {
  FakeDriver driver;
  driver.write(kH200);
  const auto gpus = opened();
  driver.write(std::string(kH200) + "gpu.0.error 15\n");
  const auto reading = gpus->read(0);
  EXPECT_THAT(reading.trouble, HasSubstr("GPU is lost"));
  EXPECT_EQ(reading.memory_free_bytes, std::nullopt);
}

TEST(WholeDriver, AGpuThatWasLostBeforeKeepsItsPlace) {
  FakeDriver driver;
  driver.write("gpus 2\ngpu.0.error lost\ngpu.1.uuid GPU-b\n");
  const auto gpus = opened();
  ASSERT_EQ(gpus->inventory().gpus.size(), 2u);
  EXPECT_EQ(gpus->inventory().find("GPU-b")->index, 1u);
  EXPECT_EQ(gpus->inventory().find(""), nullptr);
  EXPECT_THAT(gpus->read(0).trouble, HasSubstr("GPU is lost"));
  EXPECT_EQ(gpus->read(1).trouble, "");
  EXPECT_NE(gpus->read(7).trouble, "");
}

TEST(WholeDriver, TellsEachXidOnce) {
  FakeDriver driver;
  driver.write("gpus 2\nxid 1 79\nxid 0 31\n");
  const auto gpus = opened();
  EXPECT_THAT(gpus->take_xids(), ElementsAre(XidEvent{1, 79}, XidEvent{0, 31}));
  EXPECT_THAT(gpus->take_xids(), ElementsAre());
}

TEST(WholeDriver, OneThatDoesNotLetUsListenTellsNoXids) {
  FakeDriver driver;
  driver.write("error.nvmlEventSetCreate 3\nxid 0 31\n");
  EXPECT_THAT(opened()->take_xids(), ElementsAre());
}

TEST(WholeDriver, ALibraryWithoutItsKernelDriverIsAHostWithoutGpus) {
  FakeDriver driver;
  driver.write("error.nvmlInit_v2 9\n");
  const auto gpus = open_nvml_gpus();
  ASSERT_FALSE(gpus.has_value());
  EXPECT_EQ(gpus.error().code, Code::kNotFound);
  EXPECT_THAT(gpus.error().message, HasSubstr("Driver Not Loaded"));
}

TEST(WholeDriver, OneThatDoesNotWorkSaysWhy) {
  FakeDriver driver;
  for (const auto* trouble : {"error.nvmlInit_v2 18\n", "error.nvmlDeviceGetCount_v2 999\n", "gpus 65\n"}) {
    driver.write(trouble);
    const auto gpus = open_nvml_gpus();
    ASSERT_FALSE(gpus.has_value()) << trouble;
    EXPECT_EQ(gpus.error().code, Code::kIo) << gpus.error().message;
  }
}

TEST(OldDriver, WhatItCannotTellIsUnknown) {
  FakeDriver driver;
  driver.write(kH200);
  const auto gpus = opened();
  EXPECT_THAT(gpus->inventory().gpus, ElementsAre(GpuIdentity{0, "GPU-8f3a", "", 150'000'000'000, 0}));
  EXPECT_EQ(gpus->inventory().cuda_version, 0u);
  EXPECT_EQ(gpus->inventory().driver_version, "");
  const auto reading = gpus->read(0);
  EXPECT_EQ(reading.memory_free_bytes, 100'000'000'000u);
  EXPECT_EQ(reading.temperature_celsius, std::nullopt);
  EXPECT_EQ(reading.power_watts, std::nullopt);
  EXPECT_THAT(gpus->take_xids(), ElementsAre());
}

TEST(OldDriver, AnErrorWithoutWordsHasItsNumber) {
  FakeDriver driver;
  driver.write("error.nvmlInit_v2 999\n");
  const auto gpus = open_nvml_gpus();
  ASSERT_FALSE(gpus.has_value());
  EXPECT_THAT(gpus.error().message, HasSubstr("NVML error 999"));
}

TEST(ForeignDriver, ALibraryWithoutItsFunctionsNamesOneOfThem) {
  const auto gpus = open_nvml_gpus();
  ASSERT_FALSE(gpus.has_value());
  EXPECT_EQ(gpus.error().code, Code::kIo);
  EXPECT_THAT(gpus.error().message, HasSubstr("libnvidia-ml.so.1 has no nvml"));
}

TEST(NoDriver, IsAHostWithoutGpus) {
  const auto gpus = open_nvml_gpus();
  ASSERT_FALSE(gpus.has_value());
  EXPECT_EQ(gpus.error().code, Code::kNotFound);
  EXPECT_THAT(gpus.error().message, HasSubstr("libnvidia-ml.so.1"));
}

}  // namespace
}  // namespace deepserve::daemon
