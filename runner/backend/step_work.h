// What one step asks of a device at the least: bytes to read, operations to do. A pure sum over a model's
// shapes, from which a bench states how fast a step could be.
//
// Bytes are those of the weights as their file stores them, each read once a step, and of the KV cache as it
// lies in memory, each position of a sequence read once a step; how a backend packs its weights changes
// nothing here. Left out: activations, norms, biases, the rows of the embedding that are looked up, and what
// is written. An operation is a multiplication or an addition.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

struct ModelConfig;
struct ModelWeights;

// The matrices that are stored as one type.
struct WeightUse {
  kernels::WeightType type = kernels::WeightType::kF32;
  uint64_t layer_bytes = 0;  // of the matrices that every token goes through
  uint64_t layer_elements = 0;
  uint64_t output_bytes = 0;  // of the one that only rows of logits go through
  uint64_t output_elements = 0;
};

struct StepShape {
  uint64_t tokens = 0;  // new ones, of all sequences
  uint64_t logits_rows = 0;
  uint64_t cached_positions =
      0;  // sum over the sequences of the positions whose KV is read, the new ones too
  uint64_t attended_positions = 0;  // sum over the new tokens of the positions that each looks at
};

struct StepWork {
  std::vector<WeightUse> weights;              // one for each type there is
  uint64_t kv_position_bytes = 0;              // keys and values of one position, all layers
  uint64_t attention_position_operations = 0;  // of one new token and one position, all layers and heads

  uint64_t bytes(const StepShape& shape) const;
  uint64_t attention_operations(const StepShape& shape) const {
    return attention_position_operations * shape.attended_positions;
  }
  // Of the matrices stored as weights[i].type.
  uint64_t matrix_operations(size_t i, const StepShape& shape) const;
};

// `count` sequences, each with `context` positions in its cache, one new token each with its logits.
StepShape decode_shape(uint64_t count, uint64_t context);
// One prompt from its beginning, the logits of its last token.
StepShape prefill_shape(uint64_t tokens);

// `kv_position_bytes`: what the KV cache takes for one position.
StepWork step_work(const ModelConfig& config, const ModelWeights& weights, uint64_t kv_position_bytes);

}  // namespace deepserve::runner
