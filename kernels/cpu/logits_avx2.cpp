// The passes of logits.h for CPUs with AVX2: 16 lanes are two registers.
#include <immintrin.h>

namespace deepserve::kernels {
namespace {

struct Lanes {
  static constexpr const char* kIsa = "avx2";
  __m256 low, high;

  static Lanes load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  // The lanes of `n` and below: all ones.
  static __m256i first_lanes(unsigned long n, int from) {
    const __m256i numbers =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), numbers);
  }
  static __m256 load_half(const float* from, __m256i lanes, float fill) {
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(from, lanes),
                            _mm256_castsi256_ps(lanes));
  }
  static Lanes load_first(const float* from, unsigned long n, float fill) {
    if (n >= 16) return load(from);
    return {load_half(from, first_lanes(n, 0), fill), load_half(from + 8, first_lanes(n, 8), fill)};
  }
  static Lanes all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Lanes add(Lanes a, Lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static Lanes subtract(Lanes a, Lanes b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  static Lanes multiply(Lanes a, Lanes b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static Lanes larger(Lanes a, Lanes b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  static unsigned bits_of(__m256 low, __m256 high) {
    return static_cast<unsigned>(_mm256_movemask_ps(low)) | static_cast<unsigned>(_mm256_movemask_ps(high))
                                                                << 8;
  }
  static unsigned at_least(Lanes a, Lanes b) {
    return bits_of(_mm256_cmp_ps(a.low, b.low, _CMP_GE_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_GE_OQ));
  }
  static unsigned below(Lanes a, Lanes b) {
    return bits_of(_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ));
  }
  // All ones in the lanes of the 8 bits.
  static __m256 lanes_of(unsigned bits) {
    const __m256i single = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i spread = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), single);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(spread, single));
  }
  static Lanes choose(unsigned bits, Lanes a, Lanes b) {
    return {_mm256_blendv_ps(b.low, a.low, lanes_of(bits)),
            _mm256_blendv_ps(b.high, a.high, lanes_of(bits >> 8))};
  }
  static Lanes keep(Lanes a, unsigned bits) {
    if (bits == 0xffff) return a;
    return {_mm256_and_ps(a.low, lanes_of(bits)), _mm256_and_ps(a.high, lanes_of(bits >> 8))};
  }
  static __m256 half_times_power(__m256 a, __m256 n) {
    const __m256i power = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), power));
  }
  static Lanes times_power(Lanes a, Lanes n) {
    return {half_times_power(a.low, n.low), half_times_power(a.high, n.high)};
  }
  void store_first(float* to, unsigned long n) const {
    _mm256_maskstore_ps(to, first_lanes(n, 0), low);
    _mm256_maskstore_ps(to + 8, first_lanes(n, 8), high);
  }
  static unsigned store_indices(unsigned base, unsigned bits, unsigned* to) {
    unsigned stored = 0;
    for (; bits != 0; bits &= bits - 1) to[stored++] = base + static_cast<unsigned>(__builtin_ctz(bits));
    return stored;
  }
  float largest() const {
    const __m256 eight = _mm256_max_ps(low, high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }
  float sum() const {
    const __m256 eight = _mm256_add_ps(low, high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
};

}  // namespace
}  // namespace deepserve::kernels

#include "kernels/cpu/logits_rows.h"

namespace deepserve::kernels {

const LogitsKernels& avx2_logits_kernels();

const LogitsKernels& avx2_logits_kernels() {
  return kTable;
}

}  // namespace deepserve::kernels
