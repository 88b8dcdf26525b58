// A model's weights in a GPU's memory, in the order in which the kernels read them.
//
// Query, key and value are one matrix where they are stored as one type, else up to three; gate and up are
// interleaved in tiles (kernels/cuda/matmul.h). What the kernels have no format for becomes BF16.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cuda/matrix.h"
#include "runner/backend/cuda/device_memory.h"
#include "runner/model/model_config.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner::cuda {

// Some rows of a product of several matrices with the same inputs.
struct JoinedMatrix {
  kernels::cuda::DeviceMatrix matrix;
  uint32_t first_row = 0;  // of the whole product
};

struct DeviceLayer {
  const float* attention_norm = nullptr;
  std::vector<JoinedMatrix> query_key_value;
  const float* query_key_value_bias = nullptr;  // of the whole product, or none
  const float* query_norm = nullptr;            // or none
  const float* key_norm = nullptr;
  kernels::cuda::DeviceMatrix attention_output;
  const float* attention_output_bias = nullptr;
  const float* feed_forward_norm = nullptr;
  kernels::cuda::DeviceMatrix gate_and_up;
  const float* gate_and_up_bias = nullptr;  // in the tiles' order
  kernels::cuda::DeviceMatrix down;
  const float* down_bias = nullptr;
};

struct DeviceWeights {
  DeviceMemory memory;
  uint64_t bytes = 0;  // that they take
  kernels::cuda::DeviceMatrix embedding;
  std::vector<DeviceLayer> layers;
  const float* output_norm = nullptr;
  kernels::cuda::DeviceMatrix output;
  const double* rope_frequencies = nullptr;  // [rotated_dims / 2]
};

// What upload_weights will make, without memory: every pointer says nothing.
DeviceWeights plan_weights(const ModelConfig& config, const ModelWeights& weights);

struct UploadOptions {
  uint32_t threads = 1;                               // that put rows in order
  std::function<void(uint64_t bytes)> on_bytes = {};  // called by the caller's thread; may be empty
};

// Copies the weights to the GPU, through pinned memory, several copies at once, and waits for the last.
// kOutOfMemory, or a device fault.
Result<DeviceWeights> upload_weights(const ModelConfig& config, const ModelWeights& weights,
                                     const UploadOptions& options);

}  // namespace deepserve::runner::cuda
