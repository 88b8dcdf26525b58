// What a model's shape is: everything that the forward pass needs to know apart from the weights, whatever
// the format of the files.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/cpu/kernels.h"
#include "runner/model/rope_scaling.h"

namespace deepserve::runner {

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3, kCount };
std::string_view architecture_name(Architecture architecture);  // "llama", as GGUF's general.architecture

// Whether the files hold a kind of tensor.
enum class Presence : uint8_t {
  kAbsent,    // one that is there all the same is refused
  kIfStored,  // the files decide, and are right either way
  kNeeded,
};

// How weights of 8-bit floats are scaled.
enum class Fp8Scaling : uint8_t {
  kNone,    // there are no such weights
  kBlocks,  // a scale for each kFp8Block x kFp8Block weights
  kRows,    // one for each row, or one for all
};
inline constexpr uint32_t kFp8Block = 128;

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  uint32_t layers = 0;
  uint32_t embedding = 0;   // width of the residual stream
  uint32_t vocabulary = 0;  // rows of the embedding; 0: as many as the embedding has
  uint32_t feed_forward = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;      // divides heads
  uint32_t head_dim = 0;      // even
  uint32_t rotated_dims = 0;  // of each head, even, at most head_dim
  uint32_t context_tokens = 0;
  float rms_epsilon = 0;
  double rope_base = 10'000;
  kernels::RopeStyle rope_style = kernels::RopeStyle::kHalves;
  RopeScaling rope_scaling;
  Presence query_key_value_bias = Presence::kAbsent;
  Presence attention_output_bias = Presence::kAbsent;
  Presence feed_forward_bias = Presence::kAbsent;
  Presence head_norm = Presence::kAbsent;     // RMS norm of every query and key head (Qwen3)
  Presence output_head = Presence::kNeeded;   // kIfStored: else the embedding serves as output, too
  Presence rope_factors = Presence::kAbsent;  // a tensor of frequency divisors (GGUF of Llama 3)
  Fp8Scaling fp8_scaling = Fp8Scaling::kNone;
};

// No model is near these; they keep a lying file from making us allocate or loop without end.
struct ModelLimits {
  static constexpr uint64_t kLayersMax = 1'024;
  static constexpr uint64_t kWidthMax = 1u << 20;
  static constexpr uint64_t kHeadsMax = 4'096;
  static constexpr uint64_t kHeadDimMax = 1'024;
  static constexpr uint64_t kContextMax = 1u << 27;
  static constexpr uint64_t kVocabularyMax = 1u << 24;
  static constexpr double kRmsEpsilonMin = 1e-12;
  static constexpr double kRopeBaseMax = 1e12;
  static constexpr double kRopeFactorMin = 1e-3;
  static constexpr double kRopeFactorMax = 1e6;
};

}  // namespace deepserve::runner
