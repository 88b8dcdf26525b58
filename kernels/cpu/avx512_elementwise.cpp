// Includes no header with inline functions of external linkage (see avx512_math.h).
#include "kernels/cpu/avx512_elementwise.h"

#include "kernels/cpu/avx512_math.h"

namespace deepserve::kernels {
namespace {

inline size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

// Four partial sums of 16 lanes, element i into lane i % 64, so that no sum waits for the one before it.
float sum_of_squares(const float* x, size_t size) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  size_t i = 0;
  for (; i + 64 <= size; i += 64) {
    for (size_t j = 0; j < 4; ++j) {
      const __m512 v = _mm512_loadu_ps(x + i + 16 * j);
      sums[j] = _mm512_fmadd_ps(v, v, sums[j]);
    }
  }
  for (size_t j = 0; i < size; i += 16, ++j) {
    const __m512 v = _mm512_maskz_loadu_ps(first_lanes(smaller(16, size - i)), x + i);
    sums[j] = _mm512_fmadd_ps(v, v, sums[j]);
  }
  return _mm512_reduce_add_ps(
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

// The rotation rounds each product, as the other paths do.
inline void rotate(__m512& x, __m512& y, __m512 cosine, __m512 sine) {
  const __m512 first = _mm512_sub_ps(_mm512_mul_ps(x, cosine), _mm512_mul_ps(y, sine));
  y = _mm512_add_ps(_mm512_mul_ps(x, sine), _mm512_mul_ps(y, cosine));
  x = first;
}

void rotate_halves(float* head, const float* cosines, const float* sines, size_t pairs) {
  for (size_t i = 0; i < pairs; i += 16) {
    const __mmask16 mask = first_lanes(smaller(16, pairs - i));
    __m512 x = _mm512_maskz_loadu_ps(mask, head + i), y = _mm512_maskz_loadu_ps(mask, head + pairs + i);
    rotate(x, y, _mm512_maskz_loadu_ps(mask, cosines + i), _mm512_maskz_loadu_ps(mask, sines + i));
    _mm512_mask_storeu_ps(head + i, mask, x);
    _mm512_mask_storeu_ps(head + pairs + i, mask, y);
  }
}

void rotate_neighbours(float* head, const float* cosines, const float* sines, size_t pairs) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i even = _mm512_slli_epi32(lanes, 1);  // of 32 elements
  const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
  // x0 y0 x1 y1 ...: lane i takes element i / 2 of x, or of y (numbered from 16 on)
  const __m512i low = _mm512_or_si512(_mm512_srli_epi32(lanes, 1),
                                      _mm512_slli_epi32(_mm512_and_si512(lanes, _mm512_set1_epi32(1)), 4));
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (size_t i = 0; i < pairs; i += 16) {
    const size_t count = smaller(16, pairs - i);
    const __mmask16 first = first_lanes(smaller(16, 2 * count));
    const __mmask16 second = first_lanes(count <= 8 ? 0 : 2 * count - 16);
    float* elements = head + 2 * i;
    const __m512 a = _mm512_maskz_loadu_ps(first, elements);
    const __m512 b = _mm512_maskz_loadu_ps(second, elements + 16);
    __m512 x = _mm512_permutex2var_ps(a, even, b), y = _mm512_permutex2var_ps(a, odd, b);
    const __mmask16 mask = first_lanes(count);
    rotate(x, y, _mm512_maskz_loadu_ps(mask, cosines + i), _mm512_maskz_loadu_ps(mask, sines + i));
    _mm512_mask_storeu_ps(elements, first, _mm512_permutex2var_ps(x, low, y));
    _mm512_mask_storeu_ps(elements + 16, second, _mm512_permutex2var_ps(x, high, y));
  }
}

}  // namespace

void avx512_rms_norm(const float* x, const float* weight, float epsilon, size_t size, float* out) {
  const float mean = sum_of_squares(x, size) / static_cast<float>(size);
  const __m512 scale = _mm512_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + epsilon))));
  for (size_t i = 0; i < size; i += 16) {
    const __mmask16 mask = first_lanes(smaller(16, size - i));
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, weight + i)));
  }
}

void avx512_rope(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style) {
  if (style == RopeStyle::kHalves) return rotate_halves(head, cosines, sines, rotated / 2);
  rotate_neighbours(head, cosines, sines, rotated / 2);
}

void avx512_silu_multiply(float* gate, const float* up, size_t size) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (size_t i = 0; i < size; i += 16) {
    const __mmask16 mask = first_lanes(smaller(16, size - i));
    const __m512 x = _mm512_maskz_loadu_ps(mask, gate + i);
    const __m512 negated = _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
    const __m512 active = _mm512_div_ps(x, _mm512_add_ps(one, exponential(negated)));
    _mm512_mask_storeu_ps(gate + i, mask, _mm512_mul_ps(active, _mm512_maskz_loadu_ps(mask, up + i)));
  }
}

}  // namespace deepserve::kernels
