#include "runner/model/huggingface/hf_config.h"

#include <algorithm>
#include <boost/json/value.hpp>

#include "runner/model/huggingface/hf_rope.h"
#include "runner/model/huggingface/json_document.h"
#include "runner/model/stored_tensor.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;

struct ClassRow {
  std::string_view class_name;  // "architectures"
  std::string_view model_type;
  Architecture architecture;
};
constexpr ClassRow kClasses[] = {
    {"LlamaForCausalLM", "llama", Architecture::kLlama},
    {"MistralForCausalLM", "mistral", Architecture::kLlama},
    {"Qwen2ForCausalLM", "qwen2", Architecture::kQwen2},
    {"Qwen3ForCausalLM", "qwen3", Architecture::kQwen3},
};
constexpr const ClassRow& kMistral = kClasses[1];

constexpr uint64_t kMistralWindowDefault = 4'096;
constexpr uint64_t kQwenWindowDefault = 4'096;
constexpr uint64_t kQwenFullLayersDefault = 28;  // max_window_layers
constexpr uint32_t kQwen3HeadDimDefault = 128;
constexpr size_t kEndTokensMax = 64;

class ConfigReader {
 public:
  explicit ConfigReader(JsonFields fields) : fields_(std::move(fields)) {}

  Result<ModelConfig> read();

 private:
  Result<void> read_class();
  Result<void> read_shape();
  Result<void> read_heads();
  Result<void> read_tensors();
  Result<void> read_quantization();
  Result<void> refuse_what_we_lack() const;
  Result<void> refuse_sliding_window() const;
  Result<bool> has_sliding_layers() const;

  Result<uint32_t> count(std::string_view key, uint64_t max) const;
  Result<uint32_t> count_or(std::string_view key, uint64_t max, uint32_t otherwise) const;
  Result<bool> flag(std::string_view key) const;

  template <typename... Args>
  tl::unexpected<Error> not_supported(fmt::format_string<Args...> text, Args&&... args) const {
    return fail(Code::kNotSupported, "{}: {}", fields_.where(),
                fmt::format(text, std::forward<Args>(args)...));
  }

  JsonFields fields_;
  const ClassRow* class_ = nullptr;
  ModelConfig config_;
};

Result<uint32_t> ConfigReader::count(std::string_view key, uint64_t max) const {
  if (!fields_.has(key)) return fields_.bad(key, "it is missing");
  return count_or(key, max, 0);
}

Result<uint32_t> ConfigReader::count_or(std::string_view key, uint64_t max, uint32_t otherwise) const {
  TRY_ASSIGN(const auto value, fields_.find_unsigned(key));
  if (!value) return otherwise;
  if (*value < 1 || *value > max) return fields_.bad(key, fmt::format("{} is not in 1..{}", *value, max));
  return static_cast<uint32_t>(*value);
}

Result<bool> ConfigReader::flag(std::string_view key) const {
  TRY_ASSIGN(const auto value, fields_.find_bool(key));
  return value.value_or(false);
}

Result<ModelConfig> ConfigReader::read() {
  TRY(read_class());
  TRY(read_quantization());
  TRY(refuse_what_we_lack());
  TRY(read_shape());
  TRY(read_heads());
  TRY(read_tensors());
  TRY(read_hf_rope(fields_, config_));
  TRY(refuse_sliding_window());
  return config_;
}

Result<void> ConfigReader::read_class() {
  std::string name;
  if (const json::value* list = fields_.find("architectures")) {
    const json::array* names = list->if_array();
    if (names == nullptr || names->size() != 1 || !(*names)[0].is_string())
      return fields_.bad("architectures", "not a list of one name");
    name = std::string((*names)[0].get_string());
  } else {
    TRY_ASSIGN(const auto model_type, fields_.find_string("model_type"));
    if (!model_type) return fields_.bad("architectures", "it is missing, and model_type as well");
    name = *model_type;
  }
  const auto* found = std::find_if(std::begin(kClasses), std::end(kClasses), [&](const ClassRow& row) {
    return row.class_name == name || row.model_type == name;
  });
  if (found == std::end(kClasses)) {
    return not_supported(
        "architecture \"{}\" is not supported (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, "
        "Qwen3ForCausalLM are)",
        printable(name));
  }
  class_ = found;
  config_.architecture = found->architecture;
  return {};
}

// transformers' FineGrainedFP8Config, and the older one without blocks. Which matrices are of 8-bit floats
// their own types say; inputs are not rounded to 8 bits, whatever activation_scheme says.
Result<void> ConfigReader::read_quantization() {
  TRY_ASSIGN(const auto quantization, fields_.find_object("quantization_config"));
  if (!quantization) return {};
  TRY_ASSIGN(const auto method, quantization->find_string("quant_method"));
  if (method != "fp8") {
    return not_supported("quantization_config (\"{}\") is not supported (\"fp8\" is)",
                         printable(method.value_or("")));
  }
  TRY_ASSIGN(const auto format, quantization->find_string("fmt"));
  if (format && *format != "e4m3" && *format != "float8_e4m3fn") {
    return not_supported("quantization_config: fmt \"{}\" is not supported (\"e4m3\" is)",
                         printable(*format));
  }
  config_.fp8_scaling = Fp8Scaling::kRows;
  const json::value* block = quantization->find("weight_block_size");
  if (block == nullptr) return {};
  const json::array* sizes = block->if_array();
  if (sizes == nullptr || sizes->size() != 2)
    return quantization->bad("weight_block_size", "not a list of two sizes");
  for (const json::value& size : *sizes) {
    if (size.if_int64() != nullptr && *size.if_int64() == kFp8Block) continue;
    return not_supported("quantization_config: weight_block_size with {} is not supported (128 by 128 is)",
                         describe_json(size));
  }
  config_.fp8_scaling = Fp8Scaling::kBlocks;
  return {};
}

Result<void> ConfigReader::refuse_what_we_lack() const {
  TRY_ASSIGN(const auto activation, fields_.find_string("hidden_act"));
  if (activation && *activation != "silu" && *activation != "swish")
    return not_supported("hidden_act \"{}\" is not supported (silu is)", printable(*activation));
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts", "attn_logit_softcapping",
                          "final_logit_softcapping", "attention_multiplier", "residual_multiplier",
                          "embedding_multiplier", "logits_scaling", "logit_scale"}) {
    if (fields_.has(key)) return not_supported("{} is not supported", key);
  }
  return {};
}

Result<void> ConfigReader::read_shape() {
  TRY_ASSIGN(config_.layers, count("num_hidden_layers", ModelLimits::kLayersMax));
  TRY_ASSIGN(config_.embedding, count("hidden_size", ModelLimits::kWidthMax));
  TRY_ASSIGN(config_.vocabulary, count("vocab_size", ModelLimits::kVocabularyMax));
  TRY_ASSIGN(config_.feed_forward, count("intermediate_size", ModelLimits::kWidthMax));
  TRY_ASSIGN(config_.context_tokens, count("max_position_embeddings", ModelLimits::kContextMax));
  TRY_ASSIGN(const auto epsilon, fields_.find_number("rms_norm_eps"));
  if (!epsilon) return fields_.bad("rms_norm_eps", "it is missing");
  if (!(*epsilon >= ModelLimits::kRmsEpsilonMin && *epsilon <= 1)) {
    return fields_.bad("rms_norm_eps",
                       fmt::format("{} is not in {}..1", *epsilon, ModelLimits::kRmsEpsilonMin));
  }
  config_.rms_epsilon = static_cast<float>(*epsilon);
  return {};
}

Result<void> ConfigReader::read_heads() {
  TRY_ASSIGN(config_.heads, count("num_attention_heads", ModelLimits::kHeadsMax));
  // Only Llama's default is the same for all of its models: every query head has its own, as null says.
  if (class_ != &kClasses[0] && !fields_.is_written("num_key_value_heads"))
    return fields_.bad("num_key_value_heads", "it is missing");
  TRY_ASSIGN(config_.kv_heads, count_or("num_key_value_heads", ModelLimits::kHeadsMax, config_.heads));
  if (config_.heads % config_.kv_heads != 0) {
    return fields_.bad("num_key_value_heads",
                       fmt::format("{} heads are not shared evenly by {}", config_.heads, config_.kv_heads));
  }
  const bool is_qwen3 = config_.architecture == Architecture::kQwen3;
  if (!fields_.has("head_dim") && !is_qwen3 && config_.embedding % config_.heads != 0) {
    return fields_.bad("num_attention_heads", fmt::format("{} heads do not divide hidden_size {}",
                                                          config_.heads, config_.embedding));
  }
  TRY_ASSIGN(config_.head_dim, count_or("head_dim", ModelLimits::kHeadDimMax,
                                        is_qwen3 ? kQwen3HeadDimDefault : config_.embedding / config_.heads));
  if (config_.head_dim < 2 || config_.head_dim > ModelLimits::kHeadDimMax || config_.head_dim % 2 != 0) {
    return fields_.bad("head_dim", fmt::format("a head of {} elements (even, at most {} are allowed)",
                                               config_.head_dim, ModelLimits::kHeadDimMax));
  }
  config_.rotated_dims = config_.head_dim;
  return {};
}

// Which tensors the weight files must hold, and which not.
Result<void> ConfigReader::read_tensors() {
  const auto needed_if = [](bool needed) { return needed ? Presence::kNeeded : Presence::kAbsent; };
  TRY_ASSIGN(const bool tied, flag("tie_word_embeddings"));
  // Where a tied model's file has a head of its own all the same, transformers computes with that.
  config_.output_head = tied ? Presence::kIfStored : Presence::kNeeded;
  TRY_ASSIGN(const bool attention_bias, flag("attention_bias"));
  TRY_ASSIGN(const bool feed_forward_bias, flag("mlp_bias"));
  const bool is_llama = class_ == &kClasses[0];
  const bool is_qwen2 = config_.architecture == Architecture::kQwen2;
  const bool is_qwen3 = config_.architecture == Architecture::kQwen3;
  config_.attention_output_bias = needed_if(attention_bias && (is_llama || is_qwen3));
  config_.query_key_value_bias = is_qwen2 ? Presence::kNeeded : config_.attention_output_bias;
  config_.feed_forward_bias = needed_if(feed_forward_bias && is_llama);
  config_.head_norm = needed_if(is_qwen3);
  return {};
}

// Whether any layer looks at a window only, if there is a window.
Result<bool> ConfigReader::has_sliding_layers() const {
  if (const json::value* types = fields_.find("layer_types")) {
    const json::array* list = types->if_array();
    if (list == nullptr) return fields_.bad("layer_types", describe_json(*types) + " where a list belongs");
    bool sliding = false;
    for (const json::value& type : *list) {
      const json::string* name = type.if_string();
      if (name == nullptr) return fields_.bad("layer_types", describe_json(type) + " where a name belongs");
      if (*name != "full_attention" && *name != "sliding_attention")
        return not_supported("layer_types: \"{}\" is not supported", printable(*name));
      sliding |= *name == "sliding_attention";
    }
    return sliding;
  }
  if (config_.architecture == Architecture::kLlama) return true;
  TRY_ASSIGN(const auto full_layers, fields_.find_unsigned("max_window_layers"));
  return full_layers.value_or(kQwenFullLayersDefault) < config_.layers;
}

Result<void> ConfigReader::refuse_sliding_window() const {
  TRY_ASSIGN(const auto stated, fields_.find_unsigned("sliding_window"));
  TRY_ASSIGN(const bool use_window, flag("use_sliding_window"));
  TRY_ASSIGN(const bool sliding_layers, has_sliding_layers());
  uint64_t window = stated.value_or(0);
  if (config_.architecture != Architecture::kLlama) {
    window = use_window ? stated.value_or(kQwenWindowDefault) : 0;
  } else if (class_ == &kMistral && !fields_.is_written("sliding_window")) {
    window = kMistralWindowDefault;
  }
  if (window == 0 || window >= config_.context_tokens || !sliding_layers) return {};
  return not_supported("sliding_window ({} tokens) is not supported", window);
}

}  // namespace

Result<ModelConfig> read_hf_config(std::string_view text, const std::string& file) {
  TRY_ASSIGN(const json::value document, parse_json(text, file, {.refuse_repeated_keys = true}));
  TRY_ASSIGN(JsonFields fields, JsonFields::of(document, file));
  return ConfigReader(std::move(fields)).read();
}

Result<HfSpecialTokens> read_hf_special_tokens(std::string_view text, const std::string& file) {
  TRY_ASSIGN(const json::value document, parse_json(text, file, {}));
  TRY_ASSIGN(const JsonFields fields, JsonFields::of(document, file));
  const auto token_of = [&](std::string_view key, const json::value& value) -> Result<TokenId> {
    const int64_t* id = value.if_int64();
    if (id == nullptr || *id < 0 || static_cast<uint64_t>(*id) >= ModelLimits::kVocabularyMax)
      return fields.bad(key, describe_json(value) + " where a token belongs");
    return static_cast<TokenId>(*id);
  };
  HfSpecialTokens tokens;
  if (const json::value* bos = fields.find("bos_token_id")) {
    TRY_ASSIGN(tokens.bos, token_of("bos_token_id", *bos));
  }
  const json::value* eos = fields.find("eos_token_id");
  if (eos == nullptr) return tokens;
  if (const json::array* list = eos->if_array()) {
    if (list->size() > kEndTokensMax) {
      return fields.bad("eos_token_id",
                        fmt::format("{} tokens, at most {} are allowed", list->size(), kEndTokensMax));
    }
    for (const json::value& value : *list) {
      TRY_ASSIGN(const TokenId token, token_of("eos_token_id", value));
      tokens.ends.push_back(token);
    }
    return tokens;
  }
  TRY_ASSIGN(const TokenId token, token_of("eos_token_id", *eos));
  tokens.ends.push_back(token);
  return tokens;
}

}  // namespace deepserve::runner
