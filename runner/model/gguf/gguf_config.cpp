#include "runner/model/gguf/gguf_config.h"

#include <cmath>
#include <string>

namespace deepserve::runner {
namespace {

using kernels::RopeStyle;

struct ArchitectureRow {
  Architecture architecture;
  RopeStyle rope_style;
  Presence query_key_value_bias;
  Presence head_norm;
};
constexpr ArchitectureRow kArchitectures[] = {
    {Architecture::kLlama, RopeStyle::kAdjacentPairs, Presence::kIfStored, Presence::kAbsent},
    {Architecture::kQwen2, RopeStyle::kHalves, Presence::kNeeded, Presence::kAbsent},
    {Architecture::kQwen3, RopeStyle::kHalves, Presence::kIfStored, Presence::kNeeded},
};
static_assert(std::size(kArchitectures) == static_cast<size_t>(Architecture::kCount));

Result<void> read_architecture(const Gguf& file, ModelConfig& config) {
  TRY_ASSIGN(const auto name, file.find_string("general.architecture"));
  if (!name) return file.bad_value("general.architecture", "it is missing");
  for (const ArchitectureRow& row : kArchitectures) {
    if (architecture_name(row.architecture) != *name) continue;
    config.architecture = row.architecture;
    config.rope_style = row.rope_style;
    config.query_key_value_bias = row.query_key_value_bias;
    config.head_norm = row.head_norm;
    config.attention_output_bias = config.feed_forward_bias = Presence::kIfStored;
    config.output_head = config.rope_factors = Presence::kIfStored;
    return {};
  }
  return fail(Code::kNotSupported, "{}: architecture \"{}\" is not supported (llama, qwen2, qwen3 are)",
              file.name(), printable(*name));
}

// Reads keys of one architecture: "llama.block_count" by "block_count".
class ConfigReader {
 public:
  ConfigReader(const Gguf& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  std::string key(std::string_view name) const { return prefix_ + "." + std::string(name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }

  Result<uint32_t> count(std::string_view name, uint64_t max) const {
    if (!has(name)) return file_.bad_value(key(name), "it is missing");
    return count_or(name, max, 0);
  }
  Result<uint32_t> count_or(std::string_view name, uint64_t max, uint32_t otherwise) const {
    TRY_ASSIGN(const auto value, file_.find_unsigned(key(name)));
    if (!value) return otherwise;
    if (*value < 1 || *value > max) return bad(name, fmt::format("{} is not in 1..{}", *value, max));
    return static_cast<uint32_t>(*value);
  }
  Result<double> number_or(std::string_view name, double min, double max, double otherwise) const {
    TRY_ASSIGN(const auto value, file_.find_number(key(name)));
    if (!value) return otherwise;
    if (!(*value >= min && *value <= max))
      return bad(name, fmt::format("{} is not in {}..{}", *value, min, max));
    return *value;
  }
  tl::unexpected<Error> bad(std::string_view name, std::string_view text) const {
    return file_.bad_value(key(name), text);
  }

 private:
  const Gguf& file_;
  std::string prefix_;
};

Result<void> read_heads(const Gguf& file, const ConfigReader& reader, ModelConfig& config) {
  TRY_ASSIGN(config.heads, reader.count("attention.head_count", ModelLimits::kHeadsMax));
  TRY_ASSIGN(config.kv_heads,
             reader.count_or("attention.head_count_kv", ModelLimits::kHeadsMax, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return reader.bad(
        "attention.head_count_kv",
        fmt::format("{} heads are not shared evenly by {} key-value heads", config.heads, config.kv_heads));
  }
  if (!reader.has("attention.key_length") && config.embedding % config.heads != 0) {
    return reader.bad("attention.head_count", fmt::format("{} heads do not divide the embedding length {}",
                                                          config.heads, config.embedding));
  }
  TRY_ASSIGN(config.head_dim, reader.count_or("attention.key_length", ModelLimits::kHeadDimMax,
                                              config.embedding / config.heads));
  TRY_ASSIGN(const uint32_t value_length,
             reader.count_or("attention.value_length", ModelLimits::kHeadDimMax, config.head_dim));
  if (value_length != config.head_dim) {
    return fail(Code::kNotSupported, "{}: values of {} elements with keys of {} are not supported",
                file.name(), value_length, config.head_dim);
  }
  if (config.head_dim > ModelLimits::kHeadDimMax || config.head_dim % 2 != 0) {
    return reader.bad("attention.head_count",
                      fmt::format("a head of {} elements (even, at most {} are allowed)", config.head_dim,
                                  ModelLimits::kHeadDimMax));
  }
  TRY_ASSIGN(config.rotated_dims, reader.count_or("rope.dimension_count", config.head_dim, config.head_dim));
  if (config.rotated_dims % 2 != 0) return reader.bad("rope.dimension_count", "it is odd");
  return {};
}

// As llama.cpp computes it: the stored factor comes on top of what YaRN prescribes for the stretch.
Result<void> read_yarn(const Gguf& file, const ConfigReader& reader, const ModelConfig& config,
                       RopeScaling& scaling) {
  if (!(config.rope_base > 1)) return reader.bad("rope.freq_base", "YaRN needs a base above 1");
  TRY_ASSIGN(scaling.original_context_tokens,
             reader.count_or("rope.scaling.original_context_length", ModelLimits::kContextMax,
                             config.context_tokens));
  TRY_ASSIGN(const double attention, reader.number_or("rope.scaling.attn_factor", 1e-3, 1e3, 1));
  TRY_ASSIGN(const double yarn_attention, reader.number_or("rope.scaling.yarn_attn_factor", 1e-3, 1e3, 1));
  scaling.attention_factor = attention * yarn_attention * yarn_attention_factor(scaling.factor);
  TRY_ASSIGN(scaling.beta_fast, reader.number_or("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32));
  TRY_ASSIGN(scaling.beta_slow, reader.number_or("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1));
  TRY_ASSIGN(const double extrapolation, reader.number_or("rope.scaling.yarn_ext_factor", -1e6, 1e6, 1));
  TRY_ASSIGN(const double log_weight, reader.number_or("rope.scaling.yarn_log_multiplier", -1e6, 1e6, 0));
  if (extrapolation == 1 && log_weight == 0) return {};
  return fail(
      Code::kNotSupported, "{}: YaRN with {} is not supported", file.name(),
      reader.key(extrapolation == 1 ? "rope.scaling.yarn_log_multiplier" : "rope.scaling.yarn_ext_factor"));
}

Result<void> read_rope(const Gguf& file, const ConfigReader& reader, ModelConfig& config) {
  TRY_ASSIGN(config.rope_base, reader.number_or("rope.freq_base", 1, ModelLimits::kRopeBaseMax, 10'000));
  TRY_ASSIGN(const auto type, file.find_string(reader.key("rope.scaling.type")));
  const auto factor_or = [&](const char* name, double otherwise) {
    return reader.number_or(name, ModelLimits::kRopeFactorMin, ModelLimits::kRopeFactorMax, otherwise);
  };
  TRY_ASSIGN(double factor, factor_or("rope.scaling.factor", 0));
  if (factor == 0) {  // the key of older files
    TRY_ASSIGN(factor, factor_or("rope.scale_linear", 1));
  }
  // As llama.cpp: a factor without a type is linear; "none" ignores the factor.
  if (type && *type != "linear" && *type != "none" && *type != "yarn") {
    return fail(Code::kNotSupported,
                "{}: rope scaling \"{}\" is not supported (none, linear, yarn and factor tensors are)",
                file.name(), printable(*type));
  }
  if (type && *type == "none") return {};
  config.rope_scaling.factor = factor;
  config.rope_scaling.kind = type && *type == "yarn" ? RopeScalingKind::kYarn : RopeScalingKind::kLinear;
  if (config.rope_scaling.kind == RopeScalingKind::kYarn)
    return read_yarn(file, reader, config, config.rope_scaling);
  return {};
}

Result<void> refuse_what_we_lack(const Gguf& file, const ConfigReader& reader, const ModelConfig& config) {
  TRY_ASSIGN(const auto experts, file.find_unsigned(reader.key("expert_count")));
  if (experts && *experts != 0) {
    return fail(Code::kNotSupported, "{}: a mixture of {} experts is not supported", file.name(), *experts);
  }
  TRY_ASSIGN(const auto window, file.find_unsigned(reader.key("attention.sliding_window")));
  if (window && *window != 0 && *window < config.context_tokens) {
    return fail(Code::kNotSupported, "{}: sliding window attention ({} tokens) is not supported", file.name(),
                *window);
  }
  for (const char* name :
       {"attention.clamp_kqv", "attention.max_alibi_bias", "attention.scale", "logit_scale", "residual_scale",
        "embedding_scale", "final_logit_softcapping", "attn_logit_softcapping", "use_parallel_residual"}) {
    if (!reader.has(name)) continue;
    return fail(Code::kNotSupported, "{}: metadata key \"{}\" is not supported", file.name(),
                reader.key(name));
  }
  return {};
}

}  // namespace

Result<ModelConfig> read_gguf_config(const Gguf& file) {
  ModelConfig config;
  TRY(read_architecture(file, config));
  const ConfigReader reader(file, std::string(architecture_name(config.architecture)));
  TRY_ASSIGN(config.layers, reader.count("block_count", ModelLimits::kLayersMax));
  TRY_ASSIGN(config.embedding, reader.count("embedding_length", ModelLimits::kWidthMax));
  TRY_ASSIGN(config.feed_forward, reader.count("feed_forward_length", ModelLimits::kWidthMax));
  TRY_ASSIGN(config.context_tokens, reader.count("context_length", ModelLimits::kContextMax));
  TRY(read_heads(file, reader, config));
  TRY_ASSIGN(const double epsilon,
             reader.number_or("attention.layer_norm_rms_epsilon", ModelLimits::kRmsEpsilonMin, 1, -1));
  if (epsilon < 0) return reader.bad("attention.layer_norm_rms_epsilon", "it is missing");
  config.rms_epsilon = static_cast<float>(epsilon);
  TRY(read_rope(file, reader, config));
  TRY(refuse_what_we_lack(file, reader, config));
  return config;
}

}  // namespace deepserve::runner
