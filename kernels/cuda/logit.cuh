// One logit as the sampling kernels look at it.
#pragma once

#include "kernels/cpu/logits.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/exponential.h"

namespace deepserve::kernels::cuda {

inline constexpr uint32_t kChunk = kLogitsChunk;
inline constexpr uint32_t kMinusInfinityBits = 0xff800000, kInfinityBits = 0x7f800000;

__device__ inline float minus_infinity() {
  return bits_to_float(kMinusInfinityBits);
}
// Neither NaN nor +infinity.
__device__ inline bool is_logit(float value) {
  return value < bits_to_float(kInfinityBits);
}

// What exponential.h computes with, on one lane.
struct Lane {
  float v;
  __device__ static Lane all(float value) { return {value}; }
  __device__ static Lane subtract(Lane a, Lane b) { return {a.v - b.v}; }
  __device__ static Lane multiply(Lane a, Lane b) { return {rounded_product(a.v, b.v)}; }
  __device__ static Lane multiply_add(Lane a, Lane b, Lane c) { return {fmaf(a.v, b.v, c.v)}; }
  __device__ static bool at_least(Lane a, Lane b) { return a.v >= b.v; }
  __device__ static Lane keep(Lane a, bool kept) { return {kept ? a.v : 0.0f}; }
  __device__ static Lane times_power(Lane a, Lane n) {
    return {bits_to_float(float_to_bits(a.v) + (float_to_bits(n.v) << 23))};
  }
};

__device__ inline float weight_beside(float logit, float largest, float scale) {
  return exponential_weight(Lane{logit}, Lane{largest}, Lane{scale}).v;
}

// Integers in the order of logits; zeros of either sign are one.
__device__ inline uint32_t order_of(float logit) {
  const uint32_t bits = float_to_bits(logit == 0 ? 0.0f : logit);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000;
}
__device__ inline float logit_of(uint32_t order) {
  return bits_to_float(order >> 31 != 0 ? order & 0x7fffffff : ~order);
}

__device__ inline bool is_allowed(const SampledRow& row, uint32_t token) {
  return row.allowed == nullptr || (row.allowed[token / 64] >> token % 64 & 1) != 0;
}
__device__ inline uint32_t patches_of(const SampledRow& row) {
  return row.counts_size + row.biases_size + row.masked_size;
}
// Of its counts, then its biases, then its masked tokens.
__device__ inline uint32_t patched_token(const SampledRow& row, uint32_t i) {
  if (i < row.counts_size) return row.counts[i].token;
  i -= row.counts_size;
  return i < row.biases_size ? row.biases[i].token : row.masked[i - row.biases_size];
}
__device__ inline bool is_adjusted(const SampledRow& row) {
  return patches_of(row) != 0 || row.allowed != nullptr;
}
// Top-k that takes nothing away is none.
__device__ inline bool has_top_k(const SampledRow& row, uint32_t vocabulary) {
  return row.top_k != 0 && row.top_k < vocabulary;
}
// A draw that needs the sum of all weights.
__device__ inline bool needs_sums(const SampledRow& row, uint32_t vocabulary) {
  return row.temperature > 0 && !has_top_k(row, vocabulary) && (row.top_p < 1 || row.min_p == 0);
}

__device__ inline uint32_t chunks_of(uint32_t vocabulary) {
  return (vocabulary + kChunk - 1) / kChunk;
}

}  // namespace deepserve::kernels::cuda
