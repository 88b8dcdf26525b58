#include "runner/model/huggingface/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace deepserve::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A right config, with some fields put otherwise; an empty text leaves a field out.
std::string config_with(const std::map<std::string, std::string>& changes) {
  std::map<std::string, std::string> fields = {{"architectures", R"(["LlamaForCausalLM"])"},
                                               {"hidden_size", "64"},
                                               {"intermediate_size", "96"},
                                               {"num_hidden_layers", "2"},
                                               {"num_attention_heads", "4"},
                                               {"num_key_value_heads", "2"},
                                               {"max_position_embeddings", "256"},
                                               {"rms_norm_eps", "1e-06"},
                                               {"vocab_size", "100"}};
  for (const auto& [key, value] : changes) fields[key] = value;
  std::string text;
  for (const auto& [key, value] : fields) {
    if (!value.empty()) text += fmt::format("{}\"{}\": {}", text.empty() ? "{" : ", ", key, value);
  }
  return text + "}";
}

ModelConfig read(const std::map<std::string, std::string>& changes) {
  const auto config = read_hf_config(config_with(changes), "config.json");
  EXPECT_TRUE(config) << config.error().message;
  return config.value_or(ModelConfig{});
}

void expect_refused(const std::map<std::string, std::string>& changes, Code code, const std::string& word) {
  const auto config = read_hf_config(config_with(changes), "config.json");
  ASSERT_FALSE(config) << word;
  EXPECT_EQ(config.error().code, code) << config.error().message;
  EXPECT_THAT(config.error().message, HasSubstr("config.json: "));
  EXPECT_THAT(config.error().message, HasSubstr(word));
}

const std::map<std::string, std::string> kQwen3 = {{"architectures", R"(["Qwen3ForCausalLM"])"}};

TEST(HfConfig, LlamaIsReadWithItsDefaults) {
  const ModelConfig config = read({});
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.layers, 2u);
  EXPECT_EQ(config.embedding, 64u);
  EXPECT_EQ(config.feed_forward, 96u);
  EXPECT_EQ(config.heads, 4u);
  EXPECT_EQ(config.kv_heads, 2u);
  EXPECT_EQ(config.head_dim, 16u);
  EXPECT_EQ(config.rotated_dims, 16u);
  EXPECT_EQ(config.context_tokens, 256u);
  EXPECT_EQ(config.vocabulary, 100u);
  EXPECT_EQ(config.rms_epsilon, 1e-6f);
  EXPECT_EQ(config.rope_base, 10'000);
  EXPECT_EQ(config.rope_style, kernels::RopeStyle::kHalves);
  EXPECT_EQ(config.rope_scaling.kind, RopeScalingKind::kNone);
  EXPECT_EQ(config.query_key_value_bias, Presence::kAbsent);
  EXPECT_EQ(config.output_head, Presence::kNeeded);
  EXPECT_EQ(read({{"num_key_value_heads", ""}}).kv_heads, 4u);
}

TEST(HfConfig, SwitchesSayWhichTensorsThereAre) {
  EXPECT_EQ(read({{"tie_word_embeddings", "true"}}).output_head, Presence::kIfStored);
  const ModelConfig llama = read({{"attention_bias", "true"}, {"mlp_bias", "true"}, {"head_dim", "24"}});
  EXPECT_EQ(llama.query_key_value_bias, Presence::kNeeded);
  EXPECT_EQ(llama.attention_output_bias, Presence::kNeeded);
  EXPECT_EQ(llama.feed_forward_bias, Presence::kNeeded);
  EXPECT_EQ(llama.head_dim, 24u);
  const ModelConfig qwen2 = read({{"architectures", R"(["Qwen2ForCausalLM"])"}});
  EXPECT_EQ(qwen2.query_key_value_bias, Presence::kNeeded);
  EXPECT_EQ(qwen2.attention_output_bias, Presence::kAbsent);
  EXPECT_EQ(qwen2.head_norm, Presence::kAbsent);
  const ModelConfig qwen3 = read(kQwen3);
  EXPECT_EQ(qwen3.query_key_value_bias, Presence::kAbsent);
  EXPECT_EQ(qwen3.head_norm, Presence::kNeeded);
  EXPECT_EQ(qwen3.head_dim, 128u);
}

TEST(HfConfig, TheKindOfModelIsKnownByItsClassOrItsType) {
  EXPECT_EQ(read({{"architectures", ""}, {"model_type", "\"qwen2\""}}).architecture, Architecture::kQwen2);
  EXPECT_EQ(read({{"architectures", R"(["MistralForCausalLM"])"}, {"sliding_window", "null"}}).architecture,
            Architecture::kLlama);
  expect_refused({{"architectures", R"(["GemmaForCausalLM"])"}}, Code::kNotSupported, "\"GemmaForCausalLM\"");
  expect_refused({{"architectures", ""}}, Code::kBadModelFile, "architectures");
  expect_refused({{"architectures", "[1]"}}, Code::kBadModelFile, "architectures");
}

TEST(HfConfig, MissingFieldsAreNamed) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                          "max_position_embeddings", "rms_norm_eps", "vocab_size"}) {
    expect_refused({{key, ""}}, Code::kBadModelFile, std::string(key) + ": it is missing");
  }
  auto qwen3 = kQwen3;
  qwen3["num_key_value_heads"] = "";
  expect_refused(qwen3, Code::kBadModelFile, "num_key_value_heads: it is missing");
  qwen3["num_key_value_heads"] = "null";
  EXPECT_EQ(read(qwen3).kv_heads, 4u);
}

TEST(HfConfig, NumbersOutOfRangeAreNamed) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "max_position_embeddings", "vocab_size", "head_dim"}) {
    for (const char* value : {"0", "-1", "1e3", "\"8\"", "4611686018427387904", "18446744073709551615", "[]"})
      expect_refused({{key, value}}, Code::kBadModelFile, std::string(key) + ": ");
  }
  expect_refused({{"rms_norm_eps", "0"}}, Code::kBadModelFile, "rms_norm_eps: ");
  expect_refused({{"rms_norm_eps", "1e999"}}, Code::kBadModelFile, "rms_norm_eps: ");
  expect_refused({{"rope_theta", "0.5"}}, Code::kBadModelFile, "rope_theta: ");
  expect_refused({{"num_attention_heads", "3"}}, Code::kBadModelFile, "3 heads");
  expect_refused({{"num_key_value_heads", "3"}}, Code::kBadModelFile, "not shared evenly");
  expect_refused({{"num_attention_heads", "64"}, {"num_key_value_heads", "64"}}, Code::kBadModelFile,
                 "a head of 1 elements");
  expect_refused({{"tie_word_embeddings", "1"}}, Code::kBadModelFile, "tie_word_embeddings: ");
}

TEST(HfConfig, EightBitFloatsAreScaledInBlocksOrByRows) {
  EXPECT_EQ(read({}).fp8_scaling, Fp8Scaling::kNone);
  EXPECT_EQ(read({{"quantization_config", R"({"quant_method": "fp8", "activation_scheme": "static"})"}})
                .fp8_scaling,
            Fp8Scaling::kRows);
  EXPECT_EQ(
      read({{"quantization_config", R"({"quant_method": "fp8", "fmt": "e4m3", "modules_to_not_convert": [],
                                             "weight_block_size": [128, 128]})"}})
          .fp8_scaling,
      Fp8Scaling::kBlocks);
}

TEST(HfConfig, AFieldThatIsThereTwiceIsRefused) {
  const auto config = read_hf_config(R"({"hidden_size": 8, "hidden_size": 16})", "config.json");
  EXPECT_THAT(config.error().message, HasSubstr("\"hidden_size\" is there twice"));
}

TEST(HfConfig, WhatIsNotBuiltInIsRefusedByName) {
  expect_refused({{"quantization_config", R"({"quant_method": "awq"})"}}, Code::kNotSupported,
                 "quantization_config (\"awq\")");
  for (const auto& [fp8, word] : std::map<std::string, std::string>{
           {R"("fmt": "e5m2")", "fmt \"e5m2\""},
           {R"("weight_block_size": [128, 64])", "weight_block_size with the number 64"},
           {R"("weight_block_size": [1, 128])", "weight_block_size with the number 1 "},
           {R"("weight_block_size": ["128", 128])", "weight_block_size with a string"}}) {
    expect_refused({{"quantization_config", R"({"quant_method": "fp8", )" + fp8 + "}"}}, Code::kNotSupported,
                   word);
  }
  expect_refused({{"quantization_config", R"({"quant_method": "fp8", "weight_block_size": 128})"}},
                 Code::kBadModelFile, "not a list of two sizes");
  expect_refused({{"hidden_act", "\"gelu\""}}, Code::kNotSupported, "hidden_act \"gelu\"");
  expect_refused({{"num_experts", "8"}}, Code::kNotSupported, "num_experts");
  expect_refused({{"partial_rotary_factor", "0.5"}}, Code::kNotSupported, "partial_rotary_factor 0.5");
  expect_refused({{"rope_parameters", R"({"full_attention": {"rope_type": "default"}})"}},
                 Code::kNotSupported, "\"full_attention\"");
  expect_refused({{"rope_scaling", R"({"type": "default", "mrope_section": [2, 3, 3]})"}},
                 Code::kNotSupported, "mrope");
  for (const char* kind : {"dynamic", "longrope", "su"}) {
    expect_refused({{"rope_scaling", fmt::format(R"({{"type": "{}", "factor": 2.0}})", kind)}},
                   Code::kNotSupported, fmt::format("rope scaling \"{}\"", kind));
  }
}

TEST(HfConfig, ASlidingWindowIsRefusedOnlyWhereItIsInForce) {
  const auto mistral = [](std::map<std::string, std::string> changes) {
    changes["architectures"] = R"(["MistralForCausalLM"])";
    return changes;
  };
  expect_refused(mistral({{"sliding_window", "128"}}), Code::kNotSupported, "sliding_window (128 tokens)");
  expect_refused(mistral({{"max_position_embeddings", "8192"}}), Code::kNotSupported, "sliding_window (4096");
  read(mistral({{"max_position_embeddings", "8192"}, {"sliding_window", "null"}}));
  read(mistral({{"sliding_window", "256"}}));
  const auto qwen3 = [](std::map<std::string, std::string> changes) {
    changes.insert(kQwen3.begin(), kQwen3.end());
    changes["sliding_window"] = "128";
    return changes;
  };
  read(qwen3({}));
  read(qwen3({{"use_sliding_window", "true"}}));  // from layer 28 on
  read(qwen3({{"use_sliding_window", "true"}, {"layer_types", R"(["full_attention", "full_attention"])"}}));
  expect_refused(qwen3({{"use_sliding_window", "true"}, {"max_window_layers", "1"}}), Code::kNotSupported,
                 "sliding_window (128");
  expect_refused(
      qwen3({{"use_sliding_window", "true"}, {"layer_types", R"(["full_attention", "sliding_attention"])"}}),
      Code::kNotSupported, "sliding_window (128");
  expect_refused(qwen3({{"layer_types", R"(["chunked_attention"])"}}), Code::kNotSupported,
                 "\"chunked_attention\"");
}

TEST(HfRope, BothSpellingsOfTheParametersAreRead) {
  const ModelConfig old =
      read({{"rope_theta", "500000.0"}, {"rope_scaling", R"({"type": "linear", "factor": 4.0})"}});
  EXPECT_EQ(old.rope_base, 500'000);
  EXPECT_EQ(old.rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(old.rope_scaling.factor, 4);
  const ModelConfig now =
      read({{"rope_parameters", R"({"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0})"}});
  EXPECT_EQ(now.rope_base, 500'000);
  EXPECT_EQ(now.rope_scaling.kind, RopeScalingKind::kLinear);
}

TEST(HfRope, Llama3NeedsAllOfItsNumbers) {
  const auto scaling = [](const char* low, const char* high) {
    return fmt::format(R"({{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": {},
                            "high_freq_factor": {}, "original_max_position_embeddings": 64}})",
                       low, high);
  };
  const RopeScaling llama3 = read({{"rope_scaling", scaling("1.0", "4.0")}}).rope_scaling;
  EXPECT_EQ(llama3.kind, RopeScalingKind::kLlama3);
  EXPECT_EQ(llama3.original_context_tokens, 64u);
  EXPECT_EQ(llama3.high_frequency_factor, 4);
  expect_refused({{"rope_scaling", scaling("null", "4.0")}}, Code::kBadModelFile,
                 "rope_scaling: low_freq_factor: it is missing");
  expect_refused({{"rope_scaling", scaling("4.0", "4.0")}}, Code::kBadModelFile, "high_freq_factor");
}

TEST(HfRope, YarnHasTransformersDefaults) {
  const ModelConfig config = read({{"rope_scaling", R"({"type": "yarn", "factor": 4.0})"}});
  const RopeScaling& yarn = config.rope_scaling;
  EXPECT_EQ(yarn.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(yarn.original_context_tokens, 256u);
  EXPECT_EQ(config.context_tokens, 1'024u);  // Qwen2 keeps max_position_embeddings when YaRN is switched on
  EXPECT_EQ(yarn.beta_fast, 32);
  EXPECT_EQ(yarn.beta_slow, 1);
  EXPECT_TRUE(yarn.whole_pairs);
  EXPECT_NEAR(yarn.attention_factor, 1.138629436111989, 1e-12);
}

TEST(HfRope, YarnsOwnNumbersCount) {
  const ModelConfig config = read({{"rope_scaling", R"({"type": "yarn", "factor": 8.0, "mscale": 0.7,
      "mscale_all_dim": 1.3, "beta_fast": 8, "beta_slow": 0, "truncate": false,
      "original_max_position_embeddings": 32})"}});
  EXPECT_EQ(config.context_tokens, 256u);
  EXPECT_NEAR(config.rope_scaling.attention_factor, 0.9017839869787123, 1e-12);
  EXPECT_EQ(config.rope_scaling.beta_fast, 8);
  EXPECT_EQ(config.rope_scaling.beta_slow, 1);
  EXPECT_FALSE(config.rope_scaling.whole_pairs);
  const ModelConfig without_factor = read({{"rope_scaling", R"({"type": "yarn", "factor": null,
      "attention_factor": 1.5, "original_max_position_embeddings": 64})"}});
  EXPECT_EQ(without_factor.rope_scaling.factor, 4);
  EXPECT_EQ(without_factor.rope_scaling.attention_factor, 1.5);
  expect_refused({{"rope_theta", "1"}, {"rope_scaling", R"({"type": "yarn", "factor": 4.0})"}},
                 Code::kBadModelFile, "rope_theta");
}

TEST(HfSpecialTokens, EndTokensAreOneOrAList) {
  const auto one =
      read_hf_special_tokens(R"({"eos_token_id": 2, "bos_token_id": 1, "temperature": 0.6})", "g");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->bos, 1u);
  EXPECT_THAT(one->ends, ElementsAre(2));
  EXPECT_THAT(read_hf_special_tokens(R"({"eos_token_id": [151645, 151643]})", "g")->ends,
              ElementsAre(151645, 151643));
  EXPECT_THAT(read_hf_special_tokens(R"({"eos_token_id": null})", "g")->ends, IsEmpty());
  for (const char* wrong : {"-1", "\"</s>\"", "[2, null]", "[[2]]", "4611686018427387904", "{}"}) {
    const auto tokens = read_hf_special_tokens(fmt::format(R"({{"eos_token_id": {}}})", wrong), "g");
    ASSERT_FALSE(tokens) << wrong;
    EXPECT_THAT(tokens.error().message, HasSubstr("g: eos_token_id: "));
  }
}

}  // namespace
}  // namespace deepserve::runner
