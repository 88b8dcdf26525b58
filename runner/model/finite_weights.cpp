#include "runner/model/finite_weights.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr uint32_t kExponentF32 = 0x7f800000;
constexpr uint16_t kExponentF16 = 0x7c00;
constexpr uint16_t kExponentBF16 = 0x7f80;
constexpr size_t kStretch = 4096;  // numbers that are looked at before the first bad one is looked for

template <typename Number>
Number number_at(const uint8_t* bytes) {
  Number number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

// Without a branch inside, so that the compiler makes it a vector loop.
template <typename Number, Number exponent>
bool any_not_finite(const uint8_t* bytes, size_t count) {
  Number bad = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto bits = static_cast<Number>(number_at<Number>(bytes + i * sizeof(Number)) & exponent);
    bad = static_cast<Number>(bad | (bits == exponent ? 1 : 0));
  }
  return bad != 0;
}

template <typename Number, Number exponent>
const uint8_t* find_number(const uint8_t* begin, const uint8_t* end) {
  while (begin < end) {
    const size_t count = std::min(kStretch, static_cast<size_t>(end - begin) / sizeof(Number));
    if (any_not_finite<Number, exponent>(begin, count)) {
      while ((number_at<Number>(begin) & exponent) != exponent) begin += sizeof(Number);
      return begin;
    }
    begin += count * sizeof(Number);
  }
  return nullptr;
}

// Of E4M3 two codes are no numbers, and none is infinite.
const uint8_t* find_e4m3_none(const uint8_t* begin, const uint8_t* end) {
  for (; begin < end; begin += std::min(kStretch, static_cast<size_t>(end - begin))) {
    const size_t count = std::min(kStretch, static_cast<size_t>(end - begin));
    uint8_t bad = 0;
    for (size_t i = 0; i < count; ++i) bad = static_cast<uint8_t>(bad | ((begin[i] & 0x7f) == 0x7f ? 1 : 0));
    if (bad != 0) return std::find_if(begin, end, [](uint8_t code) { return (code & 0x7f) == 0x7f; });
  }
  return nullptr;
}

// Where a block of quantised values has its half-precision scale, and the minimum after it where it has one.
struct ScalePlace {
  WeightType type;
  uint8_t offset;
  uint8_t count;
};
constexpr ScalePlace kScales[] = {
    {WeightType::kQ4_0, 0, 1}, {WeightType::kQ4_1, 0, 2},  {WeightType::kQ5_0, 0, 1},
    {WeightType::kQ5_1, 0, 2}, {WeightType::kQ8_0, 0, 1},  {WeightType::kIQ4NL, 0, 1},
    {WeightType::kQ2K, 80, 2}, {WeightType::kQ3K, 108, 1}, {WeightType::kQ4K, 0, 2},
    {WeightType::kQ5K, 0, 2},  {WeightType::kQ6K, 208, 1}, {WeightType::kIQ4XS, 0, 1},
};
constexpr size_t kPlainTypes = 4;  // F32, F16, BF16, F8_E4M3
static_assert(std::size(kScales) + kPlainTypes == static_cast<size_t>(WeightType::kCount));

const uint8_t* find_scale(WeightType type, const uint8_t* begin, const uint8_t* end) {
  const auto* place = std::find_if(std::begin(kScales), std::end(kScales),
                                   [&](const ScalePlace& candidate) { return candidate.type == type; });
  const size_t block_bytes = kernels::weight_format(type).block_bytes;
  for (const uint8_t* block = begin; block < end; block += block_bytes) {
    if (any_not_finite<uint16_t, kExponentF16>(block + place->offset, place->count)) return block;
  }
  return nullptr;
}

}  // namespace

const uint8_t* find_not_finite(WeightType type, const uint8_t* begin, const uint8_t* end) {
  switch (type) {
    case WeightType::kF32:
      return find_number<uint32_t, kExponentF32>(begin, end);
    case WeightType::kF16:
      return find_number<uint16_t, kExponentF16>(begin, end);
    case WeightType::kBF16:
      return find_number<uint16_t, kExponentBF16>(begin, end);
    case WeightType::kF8E4M3:
      return find_e4m3_none(begin, end);
    default:
      return find_scale(type, begin, end);
  }
}

}  // namespace deepserve::runner
