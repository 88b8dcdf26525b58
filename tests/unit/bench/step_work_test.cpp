#include "runner/backend/step_work.h"

#include <gtest/gtest.h>

#include <numeric>

#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

// One layer's matrices as Q8_0 (34 bytes for 32 elements), the output as F16.
StepWork small_work() {
  return {.weights = {{.type = WeightType::kQ8_0, .layer_bytes = 3400, .layer_elements = 3200},
                      {.type = WeightType::kF16, .output_bytes = 2000, .output_elements = 1000}},
          .kv_position_bytes = 64,
          .attention_position_operations = 10};
}

TEST(StepWork, ADecodeStepReadsTheWeightsOnceAndEachSequencesCache) {
  EXPECT_EQ(small_work().bytes(decode_shape(1, 0)), 3400u + 2000 + 64);
  EXPECT_EQ(small_work().bytes(decode_shape(8, 99)), 3400u + 2000 + 8 * 100 * 64);
}

TEST(StepWork, APrefillGoesThroughTheOutputMatrixOnce) {
  const StepShape shape = prefill_shape(50);
  EXPECT_EQ(small_work().matrix_operations(0, shape), 2u * 3200 * 50);
  EXPECT_EQ(small_work().matrix_operations(1, shape), 2u * 1000);
}

TEST(StepWork, EachTokenOfAPrefillAttendsToThoseBeforeItAndItself) {
  EXPECT_EQ(small_work().attention_operations(prefill_shape(4)), 10u * (1 + 2 + 3 + 4));
}

TEST(StepWork, WithoutLogitsTheOutputMatrixIsNotRead) {
  EXPECT_EQ(small_work().bytes({.tokens = 3, .cached_positions = 3, .attended_positions = 6}),
            3400u + 3 * 64);
}

TEST(StepWork, OfTheBuiltInModelIsNearItsParameters) {
  const auto model = load_model(BUILTIN_MODEL, {});
  ASSERT_TRUE(model) << model.error().message;
  const BackendInfo& info = model->backend->info();
  uint64_t elements = 0;
  for (const WeightUse& use : info.work.weights) elements += use.layer_elements + use.output_elements;
  EXPECT_LE(elements, info.parameters);
  EXPECT_GE(elements, info.parameters / 2);  // the embedding may be a matrix of its own
  EXPECT_GT(info.work.kv_position_bytes, 0u);
}

}  // namespace
}  // namespace deepserve::runner
