#include <immintrin.h>

#include "kernels/cpu/peaks.h"

namespace deepserve::kernels {
namespace {

// Of the 16 registers, two or three hold the factors. Enough chains for two instructions a cycle whose
// results take four or five.
constexpr size_t kChains = 12;
constexpr size_t kFloatOperations = 2 * 8 * kChains;
constexpr size_t kByteOperations = 2 * 32 * kChains;
constexpr size_t kVectorBytes = 32;
constexpr size_t kVectorsPerTurn = 8;

float multiply_add(uint64_t turns) {
  const __m256 factor = _mm256_set1_ps(0.5f), addend = _mm256_set1_ps(1.0f);
  __m256 sums[kChains];
  for (size_t i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, addend);
  }
  __m256 total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}

// Without VNNI: products of bytes, summed up in 16 bits; a kernel widens those sums now and then, at best
// seldom. The products depend on the sum, else they would be computed once.
float multiply_bytes(uint64_t turns) {
  const __m256i bytes = _mm256_set1_epi8(3);
  __m256i sums[kChains];
  for (size_t i = 0; i < kChains; ++i) sums[i] = _mm256_set1_epi16(static_cast<int16_t>(i));
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (__m256i& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(sum, bytes));
  }
  __m256i total = sums[0];
  for (size_t i = 1; i < kChains; ++i) total = _mm256_xor_si256(total, sums[i]);
  return static_cast<float>(_mm256_extract_epi32(total, 0));
}

uint64_t read_vectors(const std::byte* data, size_t size_bytes) {
  __m256i sums[kVectorsPerTurn] = {};
  for (size_t at = 0; at < size_bytes; at += kVectorsPerTurn * kVectorBytes) {
    for (size_t i = 0; i < kVectorsPerTurn; ++i) {
      const auto* vector = reinterpret_cast<const __m256i*>(data + at + i * kVectorBytes);
      sums[i] = _mm256_xor_si256(sums[i], _mm256_load_si256(vector));
    }
  }
  for (size_t i = 1; i < kVectorsPerTurn; ++i) sums[0] = _mm256_xor_si256(sums[0], sums[i]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0));
}

constexpr PeakLoop kLoops[] = {{Arithmetic::kFloat32, "vfmadd231ps", kFloatOperations, multiply_add},
                               {Arithmetic::kInt8, "vpmaddubsw, vpaddw", kByteOperations, multiply_bytes}};
constexpr Peaks kPeaks{kLoops, read_vectors};

}  // namespace

const Peaks& avx2_peaks();
const Peaks& avx2_peaks() {
  return kPeaks;
}

}  // namespace deepserve::kernels
