#include <immintrin.h>

#include "kernels/cpu/peaks.h"

namespace deepserve::kernels {
namespace {

// Of the 32 registers, two hold the factors. Enough chains for two instructions a cycle whose results take up
// to six.
constexpr size_t kChains = 16;
constexpr size_t kFloatOperations = 2 * 16 * kChains;
constexpr size_t kBFloatOperations = 2 * 32 * kChains;
constexpr size_t kByteOperations = 2 * 64 * kChains;
constexpr size_t kVectorBytes = 64;
constexpr size_t kVectorsPerTurn = 8;

float multiply_add(uint64_t turns) {
  const __m512 factor = _mm512_set1_ps(0.5f), addend = _mm512_set1_ps(1.0f);
  __m512 sums[kChains];
  for (size_t i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, addend);
  }
  __m512 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}

float multiply_bfloats(uint64_t turns) {
  const __m512bh factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
  __m512 sums[kChains];
  for (size_t i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factor, factor);
  }
  __m512 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}

float multiply_bytes(uint64_t turns) {
  const __m512i bytes = _mm512_set1_epi8(3);
  __m512i sums[kChains];
  for (size_t i = 0; i < kChains; ++i) sums[i] = _mm512_set1_epi32(static_cast<int>(i));
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, bytes, bytes);
  }
  __m512i total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm512_xor_si512(total, sums[i]);
  return static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(total)));
}

uint64_t read_vectors(const std::byte* data, size_t size_bytes) {
  __m512i sums[kVectorsPerTurn] = {};
  for (size_t at = 0; at < size_bytes; at += kVectorsPerTurn * kVectorBytes) {
    for (size_t i = 0; i < kVectorsPerTurn; ++i) {
      sums[i] = _mm512_xor_si512(sums[i], _mm512_load_si512(data + at + i * kVectorBytes));
    }
  }
  for (size_t i = 1; i < kVectorsPerTurn; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sums[0]));
}

constexpr PeakLoop kLoops[] = {{Arithmetic::kFloat32, "vfmadd231ps", kFloatOperations, multiply_add},
                               {Arithmetic::kInt8, "vpdpbusd", kByteOperations, multiply_bytes},
                               {Arithmetic::kBFloat16, "vdpbf16ps", kBFloatOperations, multiply_bfloats}};
constexpr Peaks kPeaks{kLoops, read_vectors};
constexpr Peaks kPeaksWithoutBFloat16{std::span(kLoops).first(2), read_vectors};

}  // namespace

const Peaks& avx512_peaks();
const Peaks& avx512_peaks() {
  return __builtin_cpu_supports("avx512bf16") ? kPeaks : kPeaksWithoutBFloat16;
}

}  // namespace deepserve::kernels
