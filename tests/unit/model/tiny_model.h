// Small random models as GGUF files: every architecture, every weight format, with or without a vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

struct TinyModel {
  uint32_t seed = 1;
  std::string architecture = "llama";
  kernels::WeightType type =
      kernels::WeightType::kF32;  // of the matrices whose rows are whole blocks; else F32
  uint32_t vocabulary = 50;
  uint32_t layers = 2;
  uint32_t embedding = 24;
  uint32_t feed_forward = 40;
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 6;      // written as attention.key_length when it is not embedding / heads
  uint32_t rotated_dims = 0;  // 0: head_dim
  uint32_t context = 256;
  float rope_base = 10'000.0f;
  float linear_factor = 0;      // 0: no rope scaling
  bool rope_factors = false;    // a rope_freqs.weight tensor
  bool tied = false;            // no output.weight
  bool all_biases = false;      // of every matrix of a layer, as Llama's attention_bias and mlp_bias
  bool with_vocabulary = true;  // a SentencePiece one of single letters

  std::vector<uint8_t> gguf() const;
};

}  // namespace deepserve::runner
