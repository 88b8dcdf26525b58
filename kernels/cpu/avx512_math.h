// Vector helpers of the AVX-512 kernels. Only for translation units compiled for AVX-512 (F, BW, VL, DQ);
// everything here is static, so that no copy of it can be linked into code that runs on other CPUs.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels {

// Loads once what many instructions use: compilers would rather fold the load into each of them.
static inline __m512 in_register(__m512 value) {
  asm("" : "+v"(value));
  return value;
}

// The first `count` (at most 16) lanes.
static inline __mmask16 first_lanes(size_t count) {
  return static_cast<__mmask16>((1u << count) - 1);
}

// e^x within 2 units in the last place, as `exponential` of avx2_math.h: 0 below -87.3, capped at e^88.3; NaN
// stays NaN.
static inline __m512 exponential(__m512 x) {
  const __m512 low = _mm512_set1_ps(-87.3f), high = _mm512_set1_ps(88.3f);
  const __mmask16 counts = _mm512_cmp_ps_mask(x, low, _CMP_NLT_UQ);
  const __m512 clamped = _mm512_max_ps(low, _mm512_min_ps(high, x));  // NaN passes: the second operand wins
  const __m512 power = _mm512_roundscale_ps(_mm512_mul_ps(clamped, _mm512_set1_ps(1.44269504088896341f)),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(power, _mm512_set1_ps(0.693359375f), clamped);
  r = _mm512_fnmadd_ps(power, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 y = _mm512_set1_ps(1.9875691500e-4f);
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.3981999507e-3f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(8.3334519073e-3f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.1665795894e-2f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.6666665459e-1f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(5.0000001201e-1f));
  y = _mm512_fmadd_ps(y, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_maskz_scalef_ps(counts, y, power);
}

}  // namespace deepserve::kernels
