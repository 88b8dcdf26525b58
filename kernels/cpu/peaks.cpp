#include "kernels/cpu/peaks.h"

#include <cstring>

namespace deepserve::kernels {

#ifdef DEEPSERVE_X86
const Peaks& avx2_peaks();
const Peaks& avx512_peaks();
#endif

namespace {

constexpr size_t kChains = 8;  // independent, so that no turn waits for the one before it
constexpr size_t kWordsPerTurn = 8;

float multiply_add(uint64_t turns) {
  float sums[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (uint64_t turn = 0; turn < turns; ++turn) {
    for (float& sum : sums) sum = sum * 0.5f + 1.0f;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

uint64_t read_words(const std::byte* data, size_t size_bytes) {
  uint64_t sums[kWordsPerTurn] = {};
  for (size_t at = 0; at < size_bytes; at += sizeof sums) {
    uint64_t words[kWordsPerTurn];
    std::memcpy(words, data + at, sizeof words);
    for (size_t i = 0; i < kWordsPerTurn; ++i) sums[i] ^= words[i];
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return all;
}

constexpr PeakLoop kScalarLoops[] = {{Arithmetic::kFloat32, "multiply, add", 2 * kChains, multiply_add}};
constexpr Peaks kScalarPeaks{kScalarLoops, read_words};

}  // namespace

const Peaks* find_peaks(std::string_view isa) {
#ifdef DEEPSERVE_X86
  if (isa == "avx512") return &avx512_peaks();
  if (isa == "avx2") return &avx2_peaks();
#endif
  return isa == "scalar" ? &kScalarPeaks : nullptr;
}

}  // namespace deepserve::kernels
