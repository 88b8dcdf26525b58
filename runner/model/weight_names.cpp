#include "runner/model/weight_names.h"

#include <fmt/format.h>

#include <iterator>

namespace deepserve::runner {
namespace {

struct PartNames {
  WeightPart part;
  std::string_view gguf;
  std::string_view hugging_face;
};
// Of a part of a layer: what follows the layer's number.
constexpr PartNames kNames[] = {
    {WeightPart::kEmbedding, "token_embd", "model.embed_tokens"},
    {WeightPart::kAttentionNorm, "attn_norm", "input_layernorm"},
    {WeightPart::kQuery, "attn_q", "self_attn.q_proj"},
    {WeightPart::kQueryNorm, "attn_q_norm", "self_attn.q_norm"},
    {WeightPart::kKey, "attn_k", "self_attn.k_proj"},
    {WeightPart::kKeyNorm, "attn_k_norm", "self_attn.k_norm"},
    {WeightPart::kValue, "attn_v", "self_attn.v_proj"},
    {WeightPart::kAttentionOutput, "attn_output", "self_attn.o_proj"},
    {WeightPart::kFeedForwardNorm, "ffn_norm", "post_attention_layernorm"},
    {WeightPart::kGate, "ffn_gate", "mlp.gate_proj"},
    {WeightPart::kUp, "ffn_up", "mlp.up_proj"},
    {WeightPart::kDown, "ffn_down", "mlp.down_proj"},
    {WeightPart::kOutputNorm, "output_norm", "model.norm"},
    {WeightPart::kOutput, "output", "lm_head"},
    {WeightPart::kRopeFactors, "rope_freqs", ""},
};
static_assert(std::size(kNames) == static_cast<size_t>(WeightPart::kCount));

constexpr bool rows_are_in_order() {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (static_cast<size_t>(kNames[i].part) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_order());

bool is_of_a_layer(WeightPart part) {
  return part >= WeightPart::kAttentionNorm && part <= WeightPart::kDown;
}

}  // namespace

std::string weight_name(TensorNaming naming, WeightPart part, WeightSuffix suffix, uint32_t layer) {
  const PartNames& names = kNames[static_cast<size_t>(part)];
  const bool gguf = naming == TensorNaming::kGguf;
  const std::string_view name = gguf ? names.gguf : names.hugging_face;
  if (name.empty()) return {};
  const std::string_view ending = suffix == WeightSuffix::kWeight ? "weight" : "bias";
  if (!is_of_a_layer(part)) return fmt::format("{}.{}", name, ending);
  return fmt::format("{}.{}.{}.{}", gguf ? "blk" : "model.layers", layer, name, ending);
}

}  // namespace deepserve::runner
