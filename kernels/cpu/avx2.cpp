// The kernels for CPUs with AVX2, FMA and F16C. Includes no header with inline functions of external linkage
// (see avx2_math.h). Products are fused explicitly, always in the same order, so every tile shape gives the
// same bits.
#include "kernels/cpu/attention.h"
#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/avx2_matmul.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/packed_matmul.h"

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

constexpr Kernels kAvx2 = {
    "avx2", avx2_dequantize, avx2_matmul,          avx2_attention,    avx2_store_kv, rms_norm,
    rope,   silu_multiply,   avx2_quantize_inputs, avx2_packed_matmul};

}  // namespace

const Kernels& avx2_kernels() {
  return kAvx2;
}

}  // namespace deepserve::kernels
