#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "runner/model/gguf/gguf_config.h"
#include "runner/model/model_weights.h"
#include "tests/unit/model/gguf_writer.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

// A right config of 8 wide, 2 heads, without the keys that a test wants to put itself.
GgufWriter config_without(std::string_view left_out) {
  GgufWriter writer;
  writer.put_string("general.architecture", "llama");
  const auto put = [&](std::string_view key, uint32_t value) {
    if (key != left_out) writer.put_u32(std::string("llama.") + std::string(key), value);
  };
  put("block_count", 1);
  put("embedding_length", 8);
  put("feed_forward_length", 8);
  put("context_length", 64);
  put("attention.head_count", 2);
  if (left_out != "epsilon") writer.put_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return writer;
}

Result<ModelConfig> read(const GgufWriter& writer) {
  const auto bytes = writer.bytes();
  const auto file = Gguf::parse(bytes, "m.gguf");
  EXPECT_TRUE(file);
  return read_gguf_config(*file);
}

void expect_refused(const GgufWriter& writer, Code code, const std::string& word) {
  const auto config = read(writer);
  ASSERT_FALSE(config) << word;
  EXPECT_EQ(config.error().code, code) << config.error().message;
  EXPECT_THAT(config.error().message, HasSubstr("m.gguf"));
  EXPECT_THAT(config.error().message, HasSubstr(word));
}

TEST(ModelConfig, DefaultsFollowTheSpecification) {
  const auto config = read(config_without(""));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kv_heads, 2u);
  EXPECT_EQ(config->head_dim, 4u);
  EXPECT_EQ(config->rotated_dims, 4u);
  EXPECT_EQ(config->rope_base, 10'000);
  EXPECT_EQ(config->rope_scaling.factor, 1);
}

TEST(ModelConfig, MissingKeysAreNamed) {
  for (const char* key :
       {"block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count"}) {
    expect_refused(config_without(key), Code::kBadModelFile, std::string("llama.") + key);
  }
  expect_refused(config_without("epsilon"), Code::kBadModelFile, "layer_norm_rms_epsilon");
  expect_refused(GgufWriter{}, Code::kBadModelFile, "general.architecture");
}

TEST(ModelConfig, NumbersOutOfRangeAreNamed) {
  for (const char* key :
       {"block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count"}) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 40, ~uint64_t{0}}) {
      GgufWriter writer = config_without(key);
      writer.put_u64(std::string("llama.") + key, value);
      expect_refused(writer, Code::kBadModelFile, std::string("llama.") + key);
    }
  }
}

TEST(ModelConfig, HeadsMustFitTogether) {
  const auto refused = [](const char* key, uint32_t value, const std::string& word) {
    GgufWriter writer = config_without(key);
    writer.put_u32(std::string("llama.") + key, value);
    expect_refused(writer, Code::kBadModelFile, word);
  };
  refused("attention.head_count", 3, "do not divide");
  refused("attention.head_count_kv", 4, "not shared evenly");
  refused("attention.key_length", 5, "a head of 5 elements");
  refused("rope.dimension_count", 3, "odd");
  refused("rope.dimension_count", 6, "1..4");
}

TEST(ModelConfig, WhatIsNotBuiltInIsRefusedByName) {
  GgufWriter architecture;
  architecture.put_string("general.architecture", "mamba");
  expect_refused(architecture, Code::kNotSupported, "\"mamba\"");
  GgufWriter long_rope = config_without("");
  long_rope.put_string("llama.rope.scaling.type", "longrope");
  expect_refused(long_rope, Code::kNotSupported, "\"longrope\"");
  GgufWriter experts = config_without("");
  experts.put_u32("llama.expert_count", 8);
  expect_refused(experts, Code::kNotSupported, "8 experts");
  GgufWriter window = config_without("");
  window.put_u32("llama.attention.sliding_window", 32);
  expect_refused(window, Code::kNotSupported, "sliding window");
  GgufWriter values = config_without("");
  values.put_u32("llama.attention.value_length", 2);
  expect_refused(values, Code::kNotSupported, "values of 2 elements");
}

TEST(ModelConfig, AFactorCountsUnlessScalingIsNone) {
  GgufWriter writer = config_without("");
  writer.put_string("llama.rope.scaling.type", "linear");
  writer.put_f32("llama.rope.scaling.factor", 4);
  const auto scaling = read(writer)->rope_scaling;
  EXPECT_EQ(scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(scaling.factor, 4);
  GgufWriter off = config_without("");
  off.put_string("llama.rope.scaling.type", "none");
  off.put_f32("llama.rope.scaling.factor", 4);
  EXPECT_EQ(read(off)->rope_scaling.kind, RopeScalingKind::kNone);
}

TEST(ModelConfig, YarnIsReadAsLlamaCppWritesIt) {
  GgufWriter writer = config_without("");
  writer.put_string("llama.rope.scaling.type", "yarn");
  writer.put_f32("llama.rope.scaling.factor", 4);
  const auto defaults = read(writer)->rope_scaling;
  EXPECT_EQ(defaults.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(defaults.original_context_tokens, 64u);
  EXPECT_EQ(defaults.beta_fast, 32);
  EXPECT_EQ(defaults.beta_slow, 1);
  EXPECT_NEAR(defaults.attention_factor, 1.138629436111989, 1e-12);
  writer.put_u32("llama.rope.scaling.original_context_length", 16);
  writer.put_f32("llama.rope.scaling.attn_factor", 0.5);
  writer.put_f32("llama.rope.scaling.yarn_beta_fast", 8);
  const auto stated = read(writer)->rope_scaling;
  EXPECT_EQ(stated.original_context_tokens, 16u);
  EXPECT_NEAR(stated.attention_factor, 1.138629436111989 / 2, 1e-12);
  EXPECT_EQ(stated.beta_fast, 8);
  GgufWriter base = writer;
  base.put_f32("llama.rope.freq_base", 1);
  expect_refused(base, Code::kBadModelFile, "llama.rope.freq_base");
  GgufWriter extrapolation = writer;
  extrapolation.put_f32("llama.rope.scaling.yarn_ext_factor", 0.5);
  expect_refused(extrapolation, Code::kNotSupported, "yarn_ext_factor");
  writer.put_f32("llama.rope.scaling.yarn_log_multiplier", 0.1f);
  expect_refused(writer, Code::kNotSupported, "yarn_log_multiplier");
}

Result<ModelWeights> bind_weights(const std::vector<uint8_t>& bytes) {
  const auto file = Gguf::parse(bytes, "m.gguf");
  EXPECT_TRUE(file) << file.error().message;
  const auto config = read_gguf_config(*file);
  EXPECT_TRUE(config) << config.error().message;
  ModelTensors tensors("m.gguf", TensorNaming::kGguf);
  EXPECT_TRUE(tensors.add_file(file->name(), file->tensors()));
  return bind_model_weights(tensors, *config);
}

TEST(ModelWeights, AMissingTensorIsNamed) {
  const auto whole = TinyModel{.architecture = "qwen2"}.gguf();
  for (const std::string name :
       {"token_embd.weight", "blk.1.attn_q.weight", "blk.0.attn_k.bias", "output_norm.weight"}) {
    auto bytes = whole;
    const auto found = std::search(bytes.begin(), bytes.end(), name.begin(), name.end());
    ASSERT_NE(found, bytes.end());
    *found = 'X';
    const auto weights = bind_weights(bytes);
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code, Code::kBadModelFile);
    EXPECT_THAT(weights.error().message, HasSubstr("\"" + name + "\" is missing"));
  }
}

TEST(ModelWeights, AnotherShapeIsNamedWithBothShapes) {
  auto bytes = TinyModel{}.gguf();
  const std::string name = "blk.0.attn_k.weight";
  const auto found = std::search(bytes.begin(), bytes.end(), name.begin(), name.end());
  const uint64_t rows = 11;
  std::memcpy(&*found + name.size() + 4 + 8, &rows, sizeof rows);
  const auto weights = bind_weights(bytes);
  ASSERT_FALSE(weights);
  EXPECT_THAT(weights.error().message, HasSubstr("tensor \"blk.0.attn_k.weight\" at offset "));
  EXPECT_THAT(weights.error().message, HasSubstr("its shape is 24x11, not 24x12"));
}

TEST(ModelWeights, ATensorThatNobodyWouldUseIsRefused) {
  const auto weights = bind_weights(TinyModel{.architecture = "qwen3", .layers = 2}.gguf());
  ASSERT_TRUE(weights) << weights.error().message;
  auto bytes = TinyModel{.architecture = "llama", .layers = 2}.gguf();
  const std::string key = "llama.block_count";
  const auto found = std::search(bytes.begin(), bytes.end(), key.begin(), key.end());
  *(&*found + key.size() + 4) = 1;
  const auto fewer = bind_weights(bytes);
  ASSERT_FALSE(fewer);
  EXPECT_EQ(fewer.error().code, Code::kNotSupported);
  EXPECT_THAT(fewer.error().message, HasSubstr("blk.1."));
}

TEST(ModelWeights, TiedEmbeddingsServeAsOutput) {
  const auto bytes = TinyModel{.tied = true}.gguf();
  const auto weights = bind_weights(bytes);
  ASSERT_TRUE(weights);
  EXPECT_EQ(weights->output.data, weights->embedding.data);
}

}  // namespace
}  // namespace deepserve::runner
