#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/backend/reference_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/kernels/random_weights.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

// The largest error over all logits, relative to the largest logit.
void expect_close_to_reference(const TinyModel& model, const std::string& isa, double tolerance,
                               kernels::KvType kv_type = kernels::KvType::kF32) {
  if (kernels::find_kernels(isa) == nullptr) GTEST_SKIP() << "this CPU has no " << isa;
  const auto bytes = model.gguf();
  const TemporaryFile file(bytes);
  BackendOptions options;
  options.isa = isa;
  options.kv_type = kv_type;
  auto loaded = load_model(file.path(), options);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto prompt = clear_prompt(model, bytes, kernels::is_packable(model.type) ? 4 : 40);
  const auto actual = run_alone(*loaded->backend, prompt.tokens);
  ASSERT_TRUE(actual) << actual.error().message;
  const auto& exact = prompt.logits;
  ASSERT_EQ(actual->size(), exact.size());
  double error = 0, magnitude = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error = std::max(error, std::abs((*actual)[i] - exact[i]));
    magnitude = std::max(magnitude, std::abs(exact[i]));
  }
  EXPECT_LE(error, tolerance * magnitude)
      << model.architecture << " " << isa << ", largest logit " << magnitude;
}

class BackendOf : public testing::TestWithParam<const char*> {};

TEST_P(BackendOf, LlamaMatchesFloat64) {
  expect_close_to_reference({.seed = 11}, GetParam(), 1e-5);
}

TEST_P(BackendOf, Qwen2WithBiasesMatchesFloat64) {
  expect_close_to_reference({.seed = 12, .architecture = "qwen2", .tied = true}, GetParam(), 1e-5);
}

TEST_P(BackendOf, LlamaWithEveryBiasMatchesFloat64) {
  expect_close_to_reference({.seed = 18, .all_biases = true}, GetParam(), 1e-5);
}

TEST_P(BackendOf, Qwen3WithHeadNormsAndItsOwnHeadSizeMatchesFloat64) {
  expect_close_to_reference({.seed = 13, .architecture = "qwen3", .head_dim = 16, .rope_base = 1e6f},
                            GetParam(), 1e-5);
}

TEST_P(BackendOf, PartialRotationAndScalingMatchFloat64) {
  expect_close_to_reference({.seed = 14, .rotated_dims = 4, .linear_factor = 4}, GetParam(), 1e-5);
  expect_close_to_reference({.seed = 15, .rope_factors = true}, GetParam(), 1e-5);
  expect_close_to_reference({.seed = 16, .architecture = "qwen2", .rotated_dims = 4}, GetParam(), 1e-5);
}

// With an output head of its own, and with the embedding for one.
TEST_P(BackendOf, EveryWeightFormatMatchesFloat64OfTheSameWeights) {
  for (const WeightType type : kernels::gguf_weight_types()) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(testing::Message() << kernels::weight_format(type).name << (tied ? ", tied" : ""));
      expect_close_to_reference({.seed = 17,
                                 .type = type,
                                 .layers = 1,
                                 .embedding = 256,
                                 .feed_forward = 256,
                                 .heads = 8,
                                 .kv_heads = 4,
                                 .head_dim = 32,
                                 .tied = tied},
                                GetParam(), 1e-5);
    }
  }
}

TEST_P(BackendOf, SmallerTypesOfKvCacheStayNearFloat64) {
  expect_close_to_reference({.seed = 19}, GetParam(), 3e-3, kernels::KvType::kF16);
  expect_close_to_reference({.seed = 19}, GetParam(), 2e-2, kernels::KvType::kQ8);
}

INSTANTIATE_TEST_SUITE_P(Isa, BackendOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::runner
