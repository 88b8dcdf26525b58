// Attention on CPUs with AVX-512. Includes no header with inline functions of external linkage (see
// avx512_math.h).
#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/avx512_math.h"
#include "kernels/cpu/kv_store.h"

namespace deepserve::kernels {
namespace {

struct Avx512 {
  using Type = __m512;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kTileRows = 8;

  static inline Type zero() { return _mm512_setzero_ps(); }
  static inline Type broadcast(float value) { return _mm512_set1_ps(value); }
  static inline Type load(const float* from) { return _mm512_loadu_ps(from); }
  // The first `lanes` floats at `from`, `other` elsewhere; reads nothing beyond them.
  static inline Type load_or(const float* from, size_t lanes, float other) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(other), first_lanes(lanes), from);
  }
  static inline void store(float* to, Type v) { _mm512_storeu_ps(to, v); }
  static inline void store_lanes(float* to, size_t lanes, Type v) {
    _mm512_mask_storeu_ps(to, first_lanes(lanes), v);
  }
  static inline Type fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
  static inline Type add(Type a, Type b) { return _mm512_add_ps(a, b); }
  static inline Type subtract(Type a, Type b) { return _mm512_sub_ps(a, b); }
  static inline Type multiply(Type a, Type b) { return _mm512_mul_ps(a, b); }
  static inline Type maximum(Type a, Type b) { return _mm512_max_ps(a, b); }
  static inline Type absolute(Type v) { return _mm512_abs_ps(v); }
  static inline float largest(Type v) { return _mm512_reduce_max_ps(v); }
  static inline float sum(Type v) { return _mm512_reduce_add_ps(v); }
  static inline float first(Type v) { return _mm512_cvtss_f32(v); }
  static inline Type exponential(Type v) { return kernels::exponential(v); }
  static inline bool all_finite(Type magnitude) {
    return _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(__FLT_MAX__), _CMP_LE_OQ) == 0xffff;
  }

  template <KvType kType>
  static inline Type load_element(const uint8_t* at) {
    if constexpr (kType == KvType::kF32) return _mm512_loadu_ps(at);
    if constexpr (kType == KvType::kF16)
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    if constexpr (kType == KvType::kQ8) return levels(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  }
  template <KvType kType>
  static inline Type load_elements(const uint8_t* at, size_t lanes) {
    const __mmask16 mask = first_lanes(lanes);
    if constexpr (kType == KvType::kF32) return _mm512_maskz_loadu_ps(mask, at);
    if constexpr (kType == KvType::kF16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at));
    if constexpr (kType == KvType::kQ8) return levels(_mm_maskz_loadu_epi8(mask, at));
  }
  static inline Type levels(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
  // kLanes scales from index `first` on.
  static inline Type load_scales(const uint8_t* scales, size_t first) {
    return _mm512_loadu_ps(scales + first * sizeof(float));
  }

  static inline void to_halves(Type v, uint16_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  // Rounded to nearest even, at most 127 either way.
  static inline void to_levels(Type v, int8_t* to) {
    const __m512 bounded = _mm512_max_ps(_mm512_min_ps(v, _mm512_set1_ps(127.0f)), _mm512_set1_ps(-127.0f));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(bounded)));
  }
};

}  // namespace

void avx512_attention(const AttentionArguments& a) {
  AttentionTiles<Avx512>::run(a);
}

void avx512_store_kv(const KvStoreArguments& a) {
  KvStore<Avx512>::run(a);
}

}  // namespace deepserve::kernels
