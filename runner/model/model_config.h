// What a model's shape is: everything that the forward pass needs to know apart from the weights.
#pragma once

#include <cstdint>
#include <string_view>

#include "ipc/base/result.h"
#include "kernels/cpu/kernels.h"
#include "runner/model/gguf.h"

namespace deepserve::runner {

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3, kCount };

struct ArchitectureTraits {
  std::string_view name;  // GGUF's general.architecture
  kernels::RopeStyle rope_style;
  bool needs_qkv_bias;  // Qwen2: always there; others may carry them
  bool needs_qk_norm;   // Qwen3: RMS norm of every query and key head
};
const ArchitectureTraits& architecture_traits(Architecture architecture);

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  uint32_t layers = 0;
  uint32_t embedding = 0;  // width of the residual stream
  uint32_t feed_forward = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;      // divides heads
  uint32_t head_dim = 0;      // even
  uint32_t rotated_dims = 0;  // of each head, even, at most head_dim
  uint32_t context_tokens = 0;
  float rms_epsilon = 0;
  double rope_base = 10'000;
  double rope_position_scale = 1;  // positions are multiplied by it (linear scaling: 1 / factor)
};

// Reads and checks the metadata. kNotSupported names the architecture or feature (experts, YaRN, sliding
// window) that is not built in, kBadModelFile the key at fault.
Result<ModelConfig> read_model_config(const Gguf& file);

}  // namespace deepserve::runner
