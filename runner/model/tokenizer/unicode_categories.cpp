#include "runner/model/tokenizer/unicode_categories.h"

namespace deepserve::runner {
namespace {

constexpr char32_t kCodePoints = 0x110000;

constexpr std::string_view kNames[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                       "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                       "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs", "Cn"};

bool is_white_space(char32_t c, uint8_t category) {
  const auto is = [&](Category one) { return category == static_cast<uint8_t>(one); };
  return (c >= 0x9 && c <= 0xd) || c == 0x85 || is(Category::kZs) || is(Category::kZl) || is(Category::kZp);
}

}  // namespace

CategoryTable::CategoryTable() : entries_(new uint8_t[kCodePoints]) {
  const std::span<const uint32_t> starts = unicode_range_starts();
  for (size_t i = 0; i < starts.size(); ++i) {
    const char32_t end = i + 1 < starts.size() ? starts[i + 1] >> 5 : kCodePoints;
    const auto category = static_cast<uint8_t>(starts[i] & 0x1f);
    for (char32_t c = starts[i] >> 5; c < end; ++c) {
      entries_[c] = static_cast<uint8_t>(category | (is_white_space(c, category) ? 0x80 : 0));
    }
  }
  for (char32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = (*this)[c];
}

const CategoryTable& CategoryTable::get() {
  static const CategoryTable table;
  return table;
}

std::optional<CategorySet> category_set_named(std::string_view name) {
  CategorySet set = 0;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name || (name.size() == 1 && kNames[i][0] == name[0])) set |= CategorySet{1} << i;
  }
  if (set == 0) return std::nullopt;
  return set;
}

}  // namespace deepserve::runner
