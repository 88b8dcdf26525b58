// What the tensors of a Llama-shaped model are called: one table for every format.
#pragma once

#include <cstdint>
#include <string>

#include "runner/model/model_tensors.h"

namespace deepserve::runner {

// The parts of a model that have weights, in the order of the forward pass.
enum class WeightPart : uint8_t {
  kEmbedding,
  kAttentionNorm,  // from here on one for each layer
  kQuery,
  kQueryNorm,
  kKey,
  kKeyNorm,
  kValue,
  kAttentionOutput,
  kFeedForwardNorm,
  kGate,
  kUp,
  kDown,
  kOutputNorm,  // and from here on one for the model
  kOutput,
  kRopeFactors,  // no weight, but stored like one; GGUF only
  kCount
};

enum class WeightSuffix : uint8_t { kWeight, kBias };

// "blk.3.attn_q.bias" or "model.layers.3.self_attn.q_proj.bias"; empty where the format has no such thing.
// `layer` counts for the parts of a layer.
std::string weight_name(TensorNaming naming, WeightPart part, WeightSuffix suffix, uint32_t layer = 0);

}  // namespace deepserve::runner
