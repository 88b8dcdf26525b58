// A model of a published shape with random weights, without a file: all of its matrices lie in one piece of
// memory, over each other.
#pragma once

#include <memory>
#include <vector>

#include "runner/backend/backend_model.h"

namespace deepserve::runner {

struct ModelShape {
  const char* name;
  uint32_t layers, embedding, heads, kv_heads, head_dim, feed_forward, vocabulary;
};

// Qwen2-7B and DeepSeek-R1-Distill-Qwen-1.5B, after their config.json; the last is for tests of the bench.
inline constexpr ModelShape kShape7B{"7B", 28, 3584, 28, 4, 128, 18944, 152064};
inline constexpr ModelShape kShape1_5B{"1.5B", 28, 1536, 12, 2, 128, 8960, 151936};
inline constexpr ModelShape kShapeTest{"test", 1, 64, 4, 2, 16, 96, 512};

// Bytes of bf16 that any of the shape's matrices fits into.
std::vector<uint8_t> random_weight_bytes(const ModelShape& shape);

// A BF16 model whose matrices point into `bytes`, which outlive it.
BackendModel random_model(const ModelShape& shape, const std::vector<uint8_t>& bytes);

}  // namespace deepserve::runner
