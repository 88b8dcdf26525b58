#include "runner/backend/step_work.h"

#include <algorithm>

#include "runner/model/model_config.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {
namespace {

WeightUse& use_of(std::vector<WeightUse>& uses, kernels::WeightType type) {
  const auto found = std::ranges::find(uses, type, &WeightUse::type);
  if (found != uses.end()) return *found;
  uses.push_back({.type = type});
  return uses.back();
}

uint64_t bytes_of(const kernels::Matrix& matrix) {
  return uint64_t{matrix.rows} * matrix.row_bytes;
}
uint64_t elements_of(const kernels::Matrix& matrix) {
  return uint64_t{matrix.rows} * matrix.columns;
}

}  // namespace

uint64_t StepWork::bytes(const StepShape& shape) const {
  uint64_t sum = kv_position_bytes * shape.cached_positions;
  for (const WeightUse& use : weights) {
    sum += use.layer_bytes;
    if (shape.logits_rows != 0) sum += use.output_bytes;
  }
  return sum;
}

uint64_t StepWork::matrix_operations(size_t i, const StepShape& shape) const {
  return 2 * (weights[i].layer_elements * shape.tokens + weights[i].output_elements * shape.logits_rows);
}

StepShape decode_shape(uint64_t count, uint64_t context) {
  return {.tokens = count,
          .logits_rows = count,
          .cached_positions = count * (context + 1),
          .attended_positions = count * (context + 1)};
}

StepShape prefill_shape(uint64_t tokens) {
  return {.tokens = tokens,
          .logits_rows = 1,
          .cached_positions = tokens,
          .attended_positions = tokens * (tokens + 1) / 2};
}

StepWork step_work(const ModelConfig& config, const ModelWeights& weights, uint64_t kv_position_bytes) {
  StepWork work;
  work.kv_position_bytes = kv_position_bytes;
  // A product with each key, and each value scaled and added.
  work.attention_position_operations = uint64_t{4} * config.layers * config.heads * config.head_dim;
  for (const LayerWeights& layer : weights.layers) {
    for (const kernels::Matrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.attention_output,
                                          &layer.gate, &layer.up, &layer.down}) {
      WeightUse& use = use_of(work.weights, matrix->type);
      use.layer_bytes += bytes_of(*matrix);
      use.layer_elements += elements_of(*matrix);
    }
  }
  WeightUse& output = use_of(work.weights, weights.output.type);
  output.output_bytes += bytes_of(weights.output);
  output.output_elements += elements_of(weights.output);
  return work;
}

}  // namespace deepserve::runner
