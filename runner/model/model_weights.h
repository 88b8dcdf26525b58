// The tensors of a model, each found, checked against the config, and given its place in the forward
// pass.
//
// Matrices borrow the mapped files and are used as they lie there; the few vectors (norms, biases) are copied
// to float32, and so are the scales of 8-bit floats.
#pragma once

#include <cstdint>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cpu/weight_format.h"
#include "runner/model/model_config.h"
#include "runner/model/model_tensors.h"

namespace deepserve::runner {

struct LayerWeights {
  std::vector<float> attention_norm;  // [embedding]
  kernels::Matrix query;              // [heads * head_dim, embedding]
  kernels::Matrix key;                // [kv_heads * head_dim, embedding]
  kernels::Matrix value;              // [kv_heads * head_dim, embedding]
  std::vector<float> query_bias;      // [rows of query], or empty
  std::vector<float> key_bias;
  std::vector<float> value_bias;
  std::vector<float> query_norm;  // [head_dim], or empty
  std::vector<float> key_norm;
  kernels::Matrix attention_output;          // [embedding, heads * head_dim]
  std::vector<float> attention_output_bias;  // [embedding], or empty
  std::vector<float> feed_forward_norm;      // [embedding]
  kernels::Matrix gate;                      // [feed_forward, embedding]
  kernels::Matrix up;                        // [feed_forward, embedding]
  kernels::Matrix down;                      // [embedding, feed_forward]
  std::vector<float> gate_bias;              // [rows of gate], or empty
  std::vector<float> up_bias;
  std::vector<float> down_bias;
};

struct ModelWeights {
  kernels::Matrix embedding;  // [vocabulary, embedding]
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;  // [embedding]
  kernels::Matrix output;  // [vocabulary, embedding]; the embedding itself where the files have no other
  std::vector<float> rope_factors;  // [rotated_dims / 2] divisors of the frequencies (Llama 3), or empty
  uint64_t parameters = 0;
  uint64_t size_bytes = 0;
  kernels::WeightType main_type = kernels::WeightType::kF32;  // what most of the weights are stored as
  std::vector<std::vector<float>> scales;                     // what the matrices' scales point into
};

// kBadModelFile: a tensor is missing or has another shape than the config says. kNotSupported: a file
// holds a tensor that the forward pass would have to use and cannot; nothing in a file is ignored in silence.
Result<ModelWeights> bind_model_weights(const ModelTensors& tensors, const ModelConfig& config);

// The same errors, found without a look at the data, which need not be in memory: all but values of vectors
// that cannot be.
Result<void> check_model_weights(const ModelTensors& tensors, const ModelConfig& config);

}  // namespace deepserve::runner
