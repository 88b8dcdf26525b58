// Attention on CPUs with AVX2, FMA and F16C. Includes no header with inline functions of external linkage
// (see avx2_math.h).
#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/kv_store.h"

namespace deepserve::kernels {
namespace {

struct Avx2 {
  using Type = __m256;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kTileRows = 4;

  static inline Type zero() { return _mm256_setzero_ps(); }
  static inline Type broadcast(float value) { return _mm256_set1_ps(value); }
  static inline Type load(const float* from) { return _mm256_loadu_ps(from); }
  // The first `lanes` floats at `from`, `other` elsewhere; reads nothing beyond them.
  static inline Type load_or(const float* from, size_t lanes, float other) {
    const __m256i mask = lane_mask(lanes);
    return _mm256_blendv_ps(_mm256_set1_ps(other), _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
  }
  static inline void store(float* to, Type v) { _mm256_storeu_ps(to, v); }
  static inline void store_lanes(float* to, size_t lanes, Type v) { store_tail(to, lanes, v); }
  static inline Type fma(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
  static inline Type add(Type a, Type b) { return _mm256_add_ps(a, b); }
  static inline Type subtract(Type a, Type b) { return _mm256_sub_ps(a, b); }
  static inline Type multiply(Type a, Type b) { return _mm256_mul_ps(a, b); }
  static inline Type maximum(Type a, Type b) { return _mm256_max_ps(a, b); }
  static inline Type absolute(Type v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
  static inline float largest(Type v) { return max_lane(v); }
  static inline float sum(Type v) { return sum_lanes(v); }
  static inline float first(Type v) { return _mm256_cvtss_f32(v); }
  static inline Type exponential(Type v) { return kernels::exponential(v); }
  static inline bool all_finite(Type magnitude) {
    return _mm256_movemask_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(__FLT_MAX__), _CMP_LE_OQ)) == 0xff;
  }

  template <KvType kType>
  static inline Type load_element(const uint8_t* at) {
    if constexpr (kType == KvType::kF32) return _mm256_loadu_ps(reinterpret_cast<const float*>(at));
    if constexpr (kType == KvType::kF16)
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    if constexpr (kType == KvType::kQ8)
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
  }
  template <KvType kType>
  static inline Type load_elements(const uint8_t* at, size_t lanes) {
    alignas(32) uint8_t padded[kLanes * sizeof(float)] = {};
    __builtin_memcpy(padded, at, lanes * (kType == KvType::kF32 ? 4 : kType == KvType::kF16 ? 2 : 1));
    return load_element<kType>(padded);
  }
  // kLanes scales from index `first` on.
  static inline Type load_scales(const uint8_t* scales, size_t first) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(scales + first * sizeof(float)));
  }

  static inline void to_halves(Type v, uint16_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  // Rounded to nearest even, at most 127 either way.
  static inline void to_levels(Type v, int8_t* to) {
    const __m256 bounded = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f));
    alignas(32) int32_t rounded[kLanes];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rounded), _mm256_cvtps_epi32(bounded));
    for (size_t i = 0; i < kLanes; ++i) to[i] = static_cast<int8_t>(rounded[i]);
  }
};

}  // namespace

void avx2_attention(const AttentionArguments& a) {
  AttentionTiles<Avx2>::run(a);
}

void avx2_store_kv(const KvStoreArguments& a) {
  KvStore<Avx2>::run(a);
}

}  // namespace deepserve::kernels
