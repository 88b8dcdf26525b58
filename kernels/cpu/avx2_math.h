// Vector helpers of the AVX2 kernels. Only for translation units compiled with -mavx2 -mfma -mf16c;
// everything here is static, so that no copy of it can be linked into code that runs on other CPUs.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels {

static inline size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

// All-ones in the first `count` of 8 lanes.
static inline __m256i lane_mask(size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

// The first `count` (< 8) floats at `from`, zero elsewhere; reads nothing beyond them.
static inline __m256 load_tail(const float* from, size_t count) {
  return _mm256_maskload_ps(from, lane_mask(count));
}

static inline void store_tail(float* to, size_t count, __m256 value) {
  _mm256_maskstore_ps(to, lane_mask(count), value);
}

// Sum of the lanes, always as ((0+4)+(2+6)) + ((1+5)+(3+7)).
static inline float sum_lanes(__m256 v) {
  const __m128 quad = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 pair = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

// The larger of the lanes; NaN only by chance.
static inline float max_lane(__m256 v) {
  const __m128 quad = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 pair = _mm_max_ps(quad, _mm_movehl_ps(quad, quad));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

// e^x within 2 units in the last place: range reduction by ln 2, then a polynomial (the coefficients of
// Cephes' expf). 0 below -87.3, capped at e^88.3; NaN stays NaN.
static inline __m256 exponential(__m256 x) {
  const __m256 low = _mm256_set1_ps(-87.3f), high = _mm256_set1_ps(88.3f);
  const __m256 tiny = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
  const __m256 clamped = _mm256_max_ps(low, _mm256_min_ps(high, x));  // NaN passes: the second operand wins
  const __m256 power = _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(1.44269504088896341f)),
                                       _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(power, _mm256_set1_ps(0.693359375f), clamped);
  r = _mm256_fnmadd_ps(power, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.9875691500e-4f);
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.3981999507e-3f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(8.3334519073e-3f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(4.1665795894e-2f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.6666665459e-1f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(5.0000001201e-1f));
  y = _mm256_fmadd_ps(y, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127)), 23);
  return _mm256_andnot_ps(tiny, _mm256_mul_ps(y, _mm256_castsi256_ps(exponent)));
}

}  // namespace deepserve::kernels
