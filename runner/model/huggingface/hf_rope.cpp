#include "runner/model/huggingface/hf_rope.h"

#include <algorithm>
#include <boost/json/value.hpp>

#include "runner/model/stored_tensor.h"

namespace deepserve::runner {
namespace {

// Of both objects where there are any; older files have the base outside of them.
class RopeFields {
 public:
  RopeFields(const JsonFields& config, std::optional<JsonFields> rope)
      : config_(config), rope_(std::move(rope)) {}

  static Result<RopeFields> of(const JsonFields& config) {
    // As transformers 5, which puts rope_scaling in the place of rope_parameters.
    TRY_ASSIGN(auto scaling, config.find_object("rope_scaling"));
    if (scaling) return RopeFields(config, std::move(scaling));
    TRY_ASSIGN(auto parameters, config.find_object("rope_parameters"));
    return RopeFields(config, std::move(parameters));
  }

  Result<std::string> kind() const {
    if (!rope_) return std::string("default");
    TRY_ASSIGN(auto kind, rope_->find_string("rope_type"));
    if (!kind) {
      TRY_ASSIGN(kind, rope_->find_string("type"));
    }
    return kind.value_or("default");
  }

  const JsonFields& where(std::string_view key) const { return rope_ && rope_->has(key) ? *rope_ : config_; }
  const JsonFields& rope() const { return rope_ ? *rope_ : config_; }

  // Inside the object, else beside it.
  Result<double> number_anywhere(std::string_view key, double min, double max, double otherwise) const {
    return in_range(where(key), key, min, max, otherwise);
  }
  // Inside the object.
  Result<double> number(std::string_view key, double min, double max, double otherwise) const {
    return in_range(rope(), key, min, max, otherwise);
  }
  Result<double> needed(std::string_view key, double min, double max) const {
    if (!rope().has(key)) return rope().bad(key, "it is missing");
    return number(key, min, max, 0);
  }

 private:
  static Result<double> in_range(const JsonFields& fields, std::string_view key, double min, double max,
                                 double otherwise) {
    TRY_ASSIGN(const auto value, fields.find_number(key));
    if (!value) return otherwise;
    if (!(*value >= min && *value <= max))
      return fields.bad(key, fmt::format("{} is not in {}..{}", *value, min, max));
    return *value;
  }

  const JsonFields& config_;
  std::optional<JsonFields> rope_;
};

constexpr double kFactorMin = ModelLimits::kRopeFactorMin, kFactorMax = ModelLimits::kRopeFactorMax;

Result<void> read_original_context(const JsonFields& config_fields, const RopeFields& fields,
                                   const ModelConfig& config, RopeScaling& scaling) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  // What stands beside the object goes first, as in transformers (Phi 3 and its like).
  const JsonFields& from = config_fields.has(kKey) ? config_fields : fields.rope();
  TRY_ASSIGN(const auto tokens, from.find_unsigned(kKey));
  if (tokens && (*tokens < 1 || *tokens > ModelLimits::kContextMax))
    return from.bad(kKey, fmt::format("{} is not in 1..{}", *tokens, ModelLimits::kContextMax));
  scaling.original_context_tokens = static_cast<uint32_t>(tokens.value_or(config.context_tokens));
  return {};
}

Result<void> read_llama3(const RopeFields& fields, RopeScaling& scaling) {
  TRY_ASSIGN(scaling.factor, fields.needed("factor", kFactorMin, kFactorMax));
  TRY_ASSIGN(scaling.low_frequency_factor, fields.needed("low_freq_factor", kFactorMin, kFactorMax));
  TRY_ASSIGN(scaling.high_frequency_factor, fields.needed("high_freq_factor", kFactorMin, kFactorMax));
  if (scaling.high_frequency_factor > scaling.low_frequency_factor) return {};
  return fields.rope().bad("high_freq_factor",
                           fmt::format("{} is not above low_freq_factor {}", scaling.high_frequency_factor,
                                       scaling.low_frequency_factor));
}

// Python's `value or otherwise`: 0 counts as not stated.
double or_else(double value, double otherwise) {
  return value == 0 ? otherwise : value;
}

Result<void> read_yarn(const RopeFields& fields, ModelConfig& config, RopeScaling& scaling) {
  if (!(config.rope_base > 1))
    return fields.where("rope_theta").bad("rope_theta", "YaRN needs a base above 1");
  const double grown = static_cast<double>(config.context_tokens) / scaling.original_context_tokens;
  TRY_ASSIGN(scaling.factor, fields.number("factor", kFactorMin, kFactorMax, grown));
  TRY_ASSIGN(scaling.beta_fast, fields.number("beta_fast", 0, 1e6, 32));
  TRY_ASSIGN(scaling.beta_slow, fields.number("beta_slow", 0, 1e6, 1));
  scaling.beta_fast = or_else(scaling.beta_fast, 32);
  scaling.beta_slow = or_else(scaling.beta_slow, 1);
  TRY_ASSIGN(const auto truncate, fields.rope().find_bool("truncate"));
  scaling.whole_pairs = truncate.value_or(true);
  TRY_ASSIGN(const double weight, fields.number("mscale", 0, 1e3, 0));
  TRY_ASSIGN(const double weight_all, fields.number("mscale_all_dim", 0, 1e3, 0));
  const double prescribed =
      weight != 0 && weight_all != 0
          ? yarn_attention_factor(scaling.factor, weight) / yarn_attention_factor(scaling.factor, weight_all)
          : yarn_attention_factor(scaling.factor);
  TRY_ASSIGN(scaling.attention_factor, fields.number("attention_factor", 1e-3, 1e3, prescribed));
  const double stretched =
      std::min(scaling.factor * scaling.original_context_tokens, double{ModelLimits::kContextMax});
  config.context_tokens = std::max(config.context_tokens, static_cast<uint32_t>(stretched));
  return {};
}

// Rotation per kind of layer (Gemma 3 and its like): objects inside the object.
Result<void> refuse_nested(const RopeFields& fields) {
  for (const char* kind : {"full_attention", "sliding_attention", "chunked_attention", "linear_attention"}) {
    if (!fields.rope().has(kind)) continue;
    return fail(Code::kNotSupported, "{}: parameters for each kind of layer (\"{}\") are not supported",
                fields.rope().where(), kind);
  }
  return {};
}

}  // namespace

Result<void> read_hf_rope(const JsonFields& config_fields, ModelConfig& config) {
  config.rope_style = kernels::RopeStyle::kHalves;
  TRY_ASSIGN(const RopeFields fields, RopeFields::of(config_fields));
  TRY(refuse_nested(fields));
  TRY_ASSIGN(config.rope_base, fields.number_anywhere("rope_theta", 1, ModelLimits::kRopeBaseMax, 10'000));
  TRY_ASSIGN(const double part, fields.number_anywhere("partial_rotary_factor", 0, 1, 1));
  if (part != 1) {
    return fail(Code::kNotSupported, "{}: partial_rotary_factor {} is not supported",
                fields.where("partial_rotary_factor").where(), part);
  }
  TRY_ASSIGN(const std::string kind, fields.kind());
  const bool of_sections = fields.rope().has("mrope_section");
  RopeScaling& scaling = config.rope_scaling;
  TRY(read_original_context(config_fields, fields, config, scaling));
  if (kind == "default" && !of_sections) return {};
  if (kind == "linear") {
    scaling.kind = RopeScalingKind::kLinear;
    TRY_ASSIGN(scaling.factor, fields.needed("factor", kFactorMin, kFactorMax));
    return {};
  }
  if (kind == "llama3") {
    scaling.kind = RopeScalingKind::kLlama3;
    return read_llama3(fields, scaling);
  }
  if (kind == "yarn") {
    scaling.kind = RopeScalingKind::kYarn;
    return read_yarn(fields, config, scaling);
  }
  return fail(Code::kNotSupported, "{}: rope scaling \"{}\" is not supported (linear, llama3, yarn are)",
              fields.rope().where(), of_sections ? "mrope" : printable(kind));
}

}  // namespace deepserve::runner
