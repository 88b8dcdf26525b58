// The kernels for CPUs with AVX2, FMA and F16C. Includes no header with inline functions of external linkage
// (see avx2_math.h). Products are fused explicitly, always in the same order, so every tile shape gives the
// same bits.
#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/avx2_matmul.h"
#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

const Kernels& avx2_kernels();

namespace {

float dot(const float* a, const float* b, size_t size) {
  __m256 sum = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 8 <= size; i += 8) sum = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sum);
  if (i < size) sum = _mm256_fmadd_ps(load_tail(a + i, size - i), load_tail(b + i, size - i), sum);
  return sum_lanes(sum);
}

// out[d] = out[d] * shrink + sum over positions of weights[p] * values[p][d], positions ascending.
void accumulate_values(float* out, float shrink, const float* weights, const float* values, size_t positions,
                       size_t head_dim) {
  const __m256 factor = _mm256_set1_ps(shrink);
  size_t d = 0;
  for (; d + 16 <= head_dim; d += 16) {
    __m256 first = _mm256_mul_ps(_mm256_loadu_ps(out + d), factor);
    __m256 second = _mm256_mul_ps(_mm256_loadu_ps(out + d + 8), factor);
    for (size_t p = 0; p < positions; ++p) {
      const __m256 weight = _mm256_set1_ps(weights[p]);
      const float* value = values + p * head_dim + d;
      first = _mm256_fmadd_ps(weight, _mm256_loadu_ps(value), first);
      second = _mm256_fmadd_ps(weight, _mm256_loadu_ps(value + 8), second);
    }
    _mm256_storeu_ps(out + d, first);
    _mm256_storeu_ps(out + d + 8, second);
  }
  for (; d < head_dim; d += 8) {
    const size_t count = smaller(8, head_dim - d);
    __m256 sum = _mm256_mul_ps(load_tail(out + d, count), factor);
    for (size_t p = 0; p < positions; ++p) {
      sum = _mm256_fmadd_ps(_mm256_set1_ps(weights[p]), load_tail(values + p * head_dim + d, count), sum);
    }
    store_tail(out + d, count, sum);
  }
}

void attention(const AttentionArguments& a) {
  static_assert(kBlockTokens == 16);
  const float infinity = __builtin_inff();
  float maximum = -infinity;
  float denominator = 0;
  for (size_t d = 0; d < a.head_dim; ++d) a.out[d] = 0;
  for (size_t begin = 0; begin < a.context; begin += kBlockTokens) {
    const float* block = a.cache + a.blocks[begin / kBlockTokens] * a.block_stride;
    const size_t positions = smaller(kBlockTokens, a.context - begin);
    const float* keys = block + a.key_offset;
    alignas(32) float weights[kBlockTokens];
    for (size_t p = 0; p < kBlockTokens; ++p) {
      weights[p] = p < positions ? dot(a.query, keys + p * a.head_dim, a.head_dim) * a.scale : -infinity;
    }
    const __m256 first = _mm256_load_ps(weights), second = _mm256_load_ps(weights + 8);
    const float block_maximum = max_lane(_mm256_max_ps(first, second));
    const float new_maximum = block_maximum > maximum ? block_maximum : maximum;
    const __m256 offset = _mm256_set1_ps(new_maximum);
    const __m256 first_weights = exponential(_mm256_sub_ps(first, offset));
    const __m256 second_weights = exponential(_mm256_sub_ps(second, offset));
    _mm256_store_ps(weights, first_weights);
    _mm256_store_ps(weights + 8, second_weights);
    const float shrink = _mm256_cvtss_f32(exponential(_mm256_set1_ps(maximum - new_maximum)));
    denominator = denominator * shrink + sum_lanes(_mm256_add_ps(first_weights, second_weights));
    accumulate_values(a.out, shrink, weights, block + a.value_offset, positions, a.head_dim);
    maximum = new_maximum;
  }
  for (size_t d = 0; d < a.head_dim; ++d) a.out[d] /= denominator;
}

void rms_norm(const float* x, const float* weight, float epsilon, size_t size, float* out) {
  const float mean = dot(x, x, size) / static_cast<float>(size);
  const float scale = 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + epsilon)));
  for (size_t i = 0; i < size; ++i) out[i] = x[i] * scale * weight[i];
}

void rope(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style) {
  const size_t pairs = rotated / 2;
  const size_t next_pair = style == RopeStyle::kAdjacentPairs ? 2 : 1;
  const size_t partner = style == RopeStyle::kAdjacentPairs ? 1 : pairs;
  for (size_t i = 0; i < pairs; ++i) {
    float* first = head + i * next_pair;
    const float x = first[0], y = first[partner];
    first[0] = x * cosines[i] - y * sines[i];
    first[partner] = x * sines[i] + y * cosines[i];
  }
}

inline __m256 silu_product(__m256 gate, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 negated = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0f));
  return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, exponential(negated))), up);
}

void silu_multiply(float* gate, const float* up, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    _mm256_storeu_ps(gate + i, silu_product(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
  }
  if (i < size) {
    const size_t count = size - i;
    store_tail(gate + i, count, silu_product(load_tail(gate + i, count), load_tail(up + i, count)));
  }
}

constexpr Kernels kAvx2 = {"avx2", avx2_dequantize, avx2_matmul, attention, rms_norm, rope, silu_multiply};

}  // namespace

const Kernels& avx2_kernels() {
  return kAvx2;
}

}  // namespace deepserve::kernels
