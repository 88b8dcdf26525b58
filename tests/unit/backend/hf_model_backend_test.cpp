// A model loaded from a Hugging Face directory computes what the same weights compute as GGUF.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <vector>

#include "runner/model/loaded_model.h"
#include "tests/unit/backend/reference_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/model/hf_directory.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;
using testing::HasSubstr;

const std::vector<TokenId> kTokens = {1, 5, 9, 49, 0, 17, 3, 3, 30, 2, 41, 8, 12, 25, 6, 1, 44, 7};

std::vector<float> logits_of(const std::filesystem::path& path) {
  auto loaded = load_model(path, {});
  EXPECT_TRUE(loaded) << loaded.error().message;
  if (!loaded) return {};
  return *run_alone(*loaded->backend, kTokens);
}

void expect_the_reference_logits(const TinyModel& model, size_t shards) {
  const TemporaryDirectory directory;
  write_hf(directory, model, shards);
  const auto actual = logits_of(directory.path());
  const auto exact = reference_logits(model, model.gguf(), kTokens);
  ASSERT_EQ(actual.size(), exact.size());
  double error = 0, magnitude = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error = std::max(error, std::abs(actual[i] - exact[i]));
    magnitude = std::max(magnitude, std::abs(exact[i]));
  }
  EXPECT_LE(error, 1e-5 * magnitude);
}

TEST(HfBackend, LlamaMatchesFloat64) {
  expect_the_reference_logits({.seed = 31}, 1);
}

TEST(HfBackend, EverySwitchOfLlamaMatchesFloat64) {
  expect_the_reference_logits(
      {.seed = 32, .head_dim = 10, .linear_factor = 4, .tied = true, .all_biases = true}, 3);
}

TEST(HfBackend, Qwen2MatchesFloat64) {
  expect_the_reference_logits({.seed = 33, .architecture = "qwen2", .tied = true}, 1);
}

TEST(HfBackend, Qwen3MatchesFloat64) {
  expect_the_reference_logits({.seed = 34, .architecture = "qwen3", .head_dim = 16}, 2);
}

TEST(HfBackend, HalfPrecisionMatchesFloat64OfTheSameWeights) {
  expect_the_reference_logits({.seed = 35, .type = WeightType::kF16}, 1);
  expect_the_reference_logits({.seed = 36, .type = WeightType::kBF16}, 1);
}

TEST(HfBackend, WhereTheDataBeginsAndHowItIsShardedChangesNoBit) {
  const TinyModel model{.seed = 37, .architecture = "qwen3", .type = WeightType::kBF16};
  const TemporaryDirectory directory;
  write_hf(directory, model);
  const auto expected = logits_of(directory.path());
  for (size_t padding = 1; padding < 8; ++padding) {
    directory.write("model.safetensors", safetensors_file(hf_tensors(model), padding));
    const auto actual = logits_of(directory.path());
    ASSERT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)), 0) << padding;
  }
  const TemporaryDirectory sharded;
  write_hf(sharded, model, 4);
  const auto actual = logits_of(sharded.path());
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)), 0);
}

std::string numerics_id(const std::filesystem::path& path) {
  return load_model(path, {})->backend->info().numerics_id;
}

TEST(HfBackend, NumericsIdCoversEveryShardAndTheConfig) {
  const TinyModel model{.seed = 38};
  const TemporaryDirectory directory, same;
  write_hf(directory, model, 3);
  write_hf(same, model, 3);
  const std::string id = numerics_id(directory.path());
  EXPECT_EQ(numerics_id(same.path()), id);
  for (size_t shard = 0; shard < 3; ++shard) {
    const auto path = same.path() / hf_shard_name(shard, 3);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const int last = file.get();
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
    file.close();
    EXPECT_NE(numerics_id(same.path()), id) << shard;
    file.open(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last));
  }
  EXPECT_EQ(numerics_id(same.path()), id);
  TinyModel other = model;
  other.rope_base = 20'000;
  same.write("config.json", hf_config(other));
  EXPECT_NE(numerics_id(same.path()), id);
}

TEST(HfBackend, AModelWithANanIsRefusedWithItsTensor) {
  const TinyModel model{.seed = 40, .type = WeightType::kBF16};
  auto tensors = hf_tensors(model);
  for (NamedTensor& tensor : tensors) {
    if (tensor.name != "model.layers.1.mlp.gate_proj.weight") continue;
    tensor.bytes[2 * 100] = 0xc0;
    tensor.bytes[2 * 100 + 1] = 0x7f;
  }
  const TemporaryDirectory directory;
  write_hf(directory, model);
  directory.write("model.safetensors", safetensors_file(tensors));
  const auto loaded = load_model(directory.path(), {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kBadModelFile);
  EXPECT_THAT(loaded.error().message, HasSubstr("tensor \"model.layers.1.mlp.gate_proj.weight\" at offset"));
  EXPECT_THAT(loaded.error().message, HasSubstr("element 100 is not a finite number"));
}

TEST(HfBackend, AShardThatChangesUnderUsFailsTheNextStep) {
  const TemporaryDirectory directory;
  write_hf(directory, {.seed = 39}, 3);
  const auto model = load_model(directory.path(), {});
  ASSERT_TRUE(model);
  ASSERT_TRUE(run_alone(*model->backend, {1, 2}));
  std::ofstream(directory.path() / hf_shard_name(2, 3), std::ios::app) << "x";
  const auto after = run_alone(*model->backend, {1, 2});
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, Code::kBadModelFile);
  EXPECT_THAT(after.error().message, HasSubstr(hf_shard_name(2, 3)));
  EXPECT_THAT(after.error().message, HasSubstr("changed while it was in use"));
}

}  // namespace
}  // namespace deepserve::runner
