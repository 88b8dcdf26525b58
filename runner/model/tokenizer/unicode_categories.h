// The general category of every code point (Unicode 16.0, UAX #44), as the regular expressions of published
// tokenisers see it. Immutable tables: any number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace deepserve::runner {

// In the order of the generated table.
enum class Category : uint8_t {
  // clang-format off
  kLu, kLl, kLt, kLm, kLo, kMn, kMc, kMe, kNd, kNl, kNo, kPc, kPd, kPs, kPe, kPi, kPf, kPo,
  kSm, kSc, kSk, kSo, kZs, kZl, kZp, kCc, kCf, kCo, kCs, kCn,
  // clang-format on
};

// Sets of categories and White_Space: a bit for each category, in their order, and one for white space.
using CategorySet = uint32_t;
inline constexpr CategorySet kLetter = 0x1f;
inline constexpr CategorySet kMark = 0x7 << 5;
inline constexpr CategorySet kNumber = 0x7 << 8;
inline constexpr CategorySet kPunctuation = 0x7f << 11;
inline constexpr CategorySet kSymbol = 0xf << 18;
inline constexpr CategorySet kWhiteSpace = uint32_t{1} << 31;  // \s: of Zs, Zl, Zp and Cc

// The bit of each code point's category, and kWhiteSpace's where it is white space.
class CategoryTable {
 public:
  static const CategoryTable& get();

  CategorySet operator[](char32_t code_point) const {
    const uint8_t entry = entries_[code_point];
    return CategorySet{1} << (entry & 0x1f) | CategorySet{entry} >> 7 << 31;
  }
  CategorySet ascii(uint8_t character) const { return ascii_[character]; }

 private:
  CategoryTable();

  // Of each code point its category, and whether it is white space in the highest bit.
  std::unique_ptr<uint8_t[]> entries_;
  std::array<CategorySet, 128> ascii_;
};

// What \p{NAME} stands for: "L", "Lu", ...; none for a name that is no general category.
std::optional<CategorySet> category_set_named(std::string_view name);

// Where runs of one category begin: code point << 5 | category, ascending.
std::span<const uint32_t> unicode_range_starts();

}  // namespace deepserve::runner
