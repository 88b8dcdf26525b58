// The passes of logits.h for CPUs with AVX-512 F.
#include <immintrin.h>

namespace deepserve::kernels {
namespace {

struct Lanes {
  static constexpr const char* kIsa = "avx512";
  __m512 v;

  static Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static __mmask16 first_lanes(unsigned long n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1);
  }
  static Lanes load_first(const float* from, unsigned long n, float fill) {
    return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), from)};
  }
  static Lanes all(float value) { return {_mm512_set1_ps(value)}; }
  static Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Lanes subtract(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Lanes multiply(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Lanes larger(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
  static unsigned at_least(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
  static unsigned below(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
  static Lanes choose(unsigned bits, Lanes a, Lanes b) {
    return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), b.v, a.v)};
  }
  static Lanes keep(Lanes a, unsigned bits) {
    return {_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), a.v)};
  }
  static Lanes times_power(Lanes a, Lanes n) {
    const __m512i power = _mm512_slli_epi32(_mm512_castps_si512(n.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), power))};
  }
  void store_first(float* to, unsigned long n) const { _mm512_mask_storeu_ps(to, first_lanes(n), v); }
  // Writes all of 16 places: storing only those that are kept is many times slower on some CPUs.
  static unsigned store_indices(unsigned base, unsigned bits, unsigned* to) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(base)), lanes);
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), numbers));
    return static_cast<unsigned>(__builtin_popcount(bits));
  }
  __m256 upper_half() const { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)); }
  float largest() const {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), upper_half());
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }
  float sum() const {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), upper_half());
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
};

}  // namespace
}  // namespace deepserve::kernels

#include "kernels/cpu/logits_rows.h"

namespace deepserve::kernels {

const LogitsKernels& avx512_logits_kernels();

const LogitsKernels& avx512_logits_kernels() {
  return kTable;
}

}  // namespace deepserve::kernels
