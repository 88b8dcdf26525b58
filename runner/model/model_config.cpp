#include "runner/model/model_config.h"

#include <cmath>
#include <string>

namespace deepserve::runner {
namespace {

using kernels::RopeStyle;

constexpr ArchitectureTraits kTraits[] = {
    {"llama", RopeStyle::kAdjacentPairs, false, false},
    {"qwen2", RopeStyle::kHalves, true, false},
    {"qwen3", RopeStyle::kHalves, false, true},
};
static_assert(std::size(kTraits) == static_cast<size_t>(Architecture::kCount));

// No model is near these; they keep a lying file from making us allocate or loop without end.
constexpr uint64_t kLayersMax = 1'024;
constexpr uint64_t kWidthMax = 1u << 20;
constexpr uint64_t kHeadsMax = 4'096;
constexpr uint64_t kHeadDimMax = 1'024;
constexpr uint64_t kContextMax = 1u << 27;

Result<Architecture> read_architecture(const Gguf& file) {
  TRY_ASSIGN(const auto name, file.find_string("general.architecture"));
  if (!name) return file.bad_value("general.architecture", "it is missing");
  for (size_t i = 0; i < std::size(kTraits); ++i) {
    if (kTraits[i].name == *name) return static_cast<Architecture>(i);
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
  TRY_ASSIGN(config.heads, reader.count("attention.head_count", kHeadsMax));
  TRY_ASSIGN(config.kv_heads, reader.count_or("attention.head_count_kv", kHeadsMax, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return reader.bad(
        "attention.head_count_kv",
        fmt::format("{} heads are not shared evenly by {} key-value heads", config.heads, config.kv_heads));
  }
  if (!reader.has("attention.key_length") && config.embedding % config.heads != 0) {
    return reader.bad("attention.head_count", fmt::format("{} heads do not divide the embedding length {}",
                                                          config.heads, config.embedding));
  }
  TRY_ASSIGN(config.head_dim,
             reader.count_or("attention.key_length", kHeadDimMax, config.embedding / config.heads));
  TRY_ASSIGN(const uint32_t value_length,
             reader.count_or("attention.value_length", kHeadDimMax, config.head_dim));
  if (value_length != config.head_dim) {
    return fail(Code::kNotSupported, "{}: values of {} elements with keys of {} are not supported",
                file.name(), value_length, config.head_dim);
  }
  if (config.head_dim > kHeadDimMax || config.head_dim % 2 != 0) {
    return reader.bad(
        "attention.head_count",
        fmt::format("a head of {} elements (even, at most {} are allowed)", config.head_dim, kHeadDimMax));
  }
  TRY_ASSIGN(config.rotated_dims, reader.count_or("rope.dimension_count", config.head_dim, config.head_dim));
  if (config.rotated_dims % 2 != 0) return reader.bad("rope.dimension_count", "it is odd");
  return {};
}

Result<void> read_rope(const Gguf& file, const ConfigReader& reader, ModelConfig& config) {
  TRY_ASSIGN(config.rope_base, reader.number_or("rope.freq_base", 1, 1e12, 10'000));
  TRY_ASSIGN(const auto scaling, file.find_string(reader.key("rope.scaling.type")));
  TRY_ASSIGN(double factor, reader.number_or("rope.scaling.factor", 1e-3, 1e6, 0));
  if (factor == 0) {  // the key of older files
    TRY_ASSIGN(factor, reader.number_or("rope.scale_linear", 1e-3, 1e6, 1));
  }
  // As llama.cpp: a factor without a type is linear; "none" ignores the factor.
  if (scaling && *scaling != "linear" && *scaling != "none") {
    return fail(Code::kNotSupported,
                "{}: rope scaling \"{}\" is not supported (none, linear and factor tensors are)", file.name(),
                printable(*scaling));
  }
  if (!scaling || *scaling == "linear") config.rope_position_scale = 1 / factor;
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
  TRY_ASSIGN(const auto splits, file.find_unsigned("split.count"));
  if (splits && *splits > 1) {
    return fail(Code::kNotSupported, "{}: a model split into {} files is not supported", file.name(),
                *splits);
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

const ArchitectureTraits& architecture_traits(Architecture architecture) {
  return kTraits[static_cast<size_t>(architecture)];
}

Result<ModelConfig> read_model_config(const Gguf& file) {
  ModelConfig config;
  TRY_ASSIGN(config.architecture, read_architecture(file));
  const ConfigReader reader(file, std::string(architecture_traits(config.architecture).name));
  TRY_ASSIGN(config.layers, reader.count("block_count", kLayersMax));
  TRY_ASSIGN(config.embedding, reader.count("embedding_length", kWidthMax));
  TRY_ASSIGN(config.feed_forward, reader.count("feed_forward_length", kWidthMax));
  TRY_ASSIGN(config.context_tokens, reader.count("context_length", kContextMax));
  TRY(read_heads(file, reader, config));
  TRY_ASSIGN(const double epsilon, reader.number_or("attention.layer_norm_rms_epsilon", 1e-12, 1, -1));
  if (epsilon < 0) return reader.bad("attention.layer_norm_rms_epsilon", "it is missing");
  config.rms_epsilon = static_cast<float>(epsilon);
  TRY(read_rope(file, reader, config));
  TRY(refuse_what_we_lack(file, reader, config));
  return config;
}

}  // namespace deepserve::runner
