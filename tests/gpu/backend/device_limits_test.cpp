// What a GPU backend says when the device cannot, on an emulated one that is made so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/overlap.h"
#include "runner/backend/cuda/cuda_backend.h"
#include "runner/backend/cuda/gpu.h"
#include "runner/model/loaded_model.h"
#include "tests/gpu/emulator/device.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

class DeviceLimits : public testing::Test {
 protected:
  DeviceLimits() {
    options_.make = cuda::make_cuda_backend;
    options_.kv_type = kernels::KvType::kF16;
    options_.kv_bytes = 1 << 20;
  }
  ~DeviceLimits() override { emulator::set_device({}); }

  Result<LoadedModel> load() { return load_model(file_.path(), options_); }
  Error error_of_load() {
    const auto loaded = load();
    EXPECT_FALSE(loaded);
    return loaded ? Error{} : loaded.error();
  }

  TemporaryFile file_{
      TinyModel{.type = kernels::WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16}
          .gguf()};
  BackendOptions options_;
};

TEST_F(DeviceLimits, TooLittleMemoryIsSaidWithItsPartsBeforeAnythingIsCopied) {
  emulator::set_device({.memory_bytes = 1 << 20});
  const Error error = error_of_load();
  EXPECT_EQ(error.code, Code::kInvalidConfig);
  EXPECT_THAT(error.message, HasSubstr("for weights"));
  EXPECT_THAT(error.message, HasSubstr("for the KV cache"));
  EXPECT_THAT(error.message, HasSubstr("of 1048576 are free"));
  EXPECT_EQ(emulator::memory_in_use_bytes(), 0u);
}

TEST_F(DeviceLimits, AMemoryLimitBelowTheNeedIsNamed) {
  options_.memory_bytes = 100'000;
  const Error error = error_of_load();
  EXPECT_EQ(error.code, Code::kInvalidConfig);
  EXPECT_THAT(error.message, HasSubstr("the limit is 100000"));
}

TEST_F(DeviceLimits, ADriverThatIsTooOldIsRefusedWithBothVersions) {
  emulator::set_device({.driver_version = 12040});
  const Error error = error_of_load();
  EXPECT_EQ(error.code, Code::kInvalidConfig);
  EXPECT_THAT(error.message, HasSubstr("the driver knows CUDA up to 12.4, this program needs 13.0"));
}

TEST_F(DeviceLimits, AHostWithoutAGpuIsRefused) {
  emulator::set_device({.devices = 0});
  EXPECT_EQ(error_of_load().code, Code::kInvalidConfig);
}

TEST_F(DeviceLimits, AGpuWithoutMachineCodeIsRefusedByNameAndCapability) {
  emulator::set_device({.capability = 75});
  const Error error = error_of_load();
  EXPECT_EQ(error.code, Code::kInvalidConfig);
  EXPECT_THAT(error.message, HasSubstr("emulated GPU has compute capability 7.5"));
  EXPECT_THAT(error.message, HasSubstr("nor has it PTX"));
  options_.allow_jit = true;
  EXPECT_EQ(error_of_load().message, error.message) << "older than all PTX";
}

TEST_F(DeviceLimits, AGpuThatItsDriverCouldCompileForIsRefusedUntilThatIsAllowed) {
  emulator::set_device({.capability = 120});
  EXPECT_THAT(error_of_load().message, HasSubstr("allow_jit = true"));
  options_.allow_jit = true;
  const auto loaded = load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_THAT(loaded->backend->info().numerics_id, HasSubstr("sm_120"));
  EXPECT_THAT(loaded->backend->info().numerics_id, HasSubstr("+jit13000")) << "other drivers, other bits";
}

TEST_F(DeviceLimits, PtxIsCompiledForGpusThatAreNotOlder) {
  const int ptx[] = {90, 100};
  EXPECT_FALSE(cuda::compiles_for(ptx, 89));
  EXPECT_TRUE(cuda::compiles_for(ptx, 90));
  EXPECT_TRUE(cuda::compiles_for(ptx, 121));
  EXPECT_FALSE(cuda::compiles_for({}, 121));
}

TEST_F(DeviceLimits, ANewerMinorOfTheSameMajorRunsOlderCode) {
  const int built[] = {80, 90};
  EXPECT_TRUE(cuda::runs_on(built, 80));
  EXPECT_TRUE(cuda::runs_on(built, 86));
  EXPECT_FALSE(cuda::runs_on(built, 75));
  EXPECT_FALSE(cuda::runs_on(built, 100));
}

TEST(GpuKernels, OverlapWhereTheGpuAndTheCodeThatItRunsKnowHow) {
  const int both[] = {80, 90}, older[] = {80};
  EXPECT_TRUE(cuda::overlaps_on(both, 90));
  EXPECT_TRUE(cuda::overlaps_on(both, 100));
  EXPECT_FALSE(cuda::overlaps_on(both, 89));
  EXPECT_FALSE(cuda::overlaps_on(older, 90)) << "its code has no instruction to wait by";
  EXPECT_FALSE(cuda::overlaps_on({}, 90));
}

// The emulated one refuses kernels that may overlap, as GPUs of that age do.
TEST_F(DeviceLimits, AnOlderGpuRunsKernelsOneByOne) {
  emulator::set_device({.capability = 80});
  options_.deterministic = true;
  auto loaded = load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(run_alone(*loaded->backend, {1, 2, 3}));
}

TEST_F(DeviceLimits, ADriverThatDoesNotLetKernelsOverlapCostsSpeedAlone) {
  options_.deterministic = true;
  const auto logits = [&]() -> std::vector<float> {
    auto loaded = load();
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? run_alone(*loaded->backend, {1, 2, 3}).value_or(std::vector<float>())
                  : std::vector<float>();
  };
  emulator::set_device({.takes_overlap = false});
  const auto one_by_one = logits();
  EXPECT_FALSE(kernels::cuda::kernels_may_overlap());
  emulator::set_device({});
  EXPECT_EQ(one_by_one, logits());
  EXPECT_TRUE(kernels::cuda::kernels_may_overlap());
}

TEST_F(DeviceLimits, OtherKvTypesAreNotSupportedByName) {
  options_.kv_type = kernels::KvType::kQ8;
  const Error error = error_of_load();
  EXPECT_EQ(error.code, Code::kNotSupported);
  EXPECT_THAT(error.message, HasSubstr("kv_type = \"q8\""));
}

TEST_F(DeviceLimits, ABackendGivesItsMemoryBack) {
  { ASSERT_TRUE(load()); }
  EXPECT_EQ(emulator::memory_in_use_bytes(), 0u);
}

TEST_F(DeviceLimits, AFaultInAStepIsADeviceFaultWithItsNumber) {
  auto loaded = load();
  ASSERT_TRUE(loaded);
  emulator::set_device({.fault = 700, .fault_launches = 5});
  const auto logits = run_alone(*loaded->backend, {1, 2, 3});
  ASSERT_FALSE(logits);
  EXPECT_EQ(logits.error().code, Code::kDeviceFault);
  EXPECT_EQ(logits.error().device_error, 700);
  EXPECT_THAT(logits.error().message, HasSubstr("illegal memory access"));
}

TEST_F(DeviceLimits, AFaultWhileWeightsAreCopiedFailsTheLoad) {
  emulator::set_device({.fault = 214, .fault_launches = 0});
  auto loaded = load();
  if (loaded) {  // nothing was launched while loading: the first step is what fails
    const auto logits = run_alone(*loaded->backend, {1});
    ASSERT_FALSE(logits);
    EXPECT_EQ(logits.error().device_error, 214);
  } else {
    EXPECT_EQ(loaded.error().device_error, 214);
  }
}

}  // namespace
}  // namespace deepserve::runner
