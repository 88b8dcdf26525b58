#include "runner/model/tokenizer/character_set.h"

#include <algorithm>

namespace deepserve::runner {

void CharacterSet::add_range(char32_t first, char32_t last) {
  ranges_.emplace_back(first, last);
}

void CharacterSet::finish() {
  std::sort(ranges_.begin(), ranges_.end());
  std::vector<std::pair<char32_t, char32_t>> joined;
  for (const auto& [first, last] : ranges_) {
    if (!joined.empty() && first <= joined.back().second)
      joined.back().second = std::max(joined.back().second, last);
    else
      joined.emplace_back(first, last);
  }
  ranges_ = std::move(joined);
  for (char32_t c = 0; c < kTableSize; ++c) table_[c] = search(c);
}

bool CharacterSet::search(char32_t code_point) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), code_point,
                                      [](char32_t c, const auto& range) { return c < range.first; });
  if (after != ranges_.begin() && code_point <= std::prev(after)->second) return !negated_;
  const CategorySet categories = CategoryTable::get()[code_point];
  if ((categories & categories_) != 0) return !negated_;
  for (CategorySet without : all_but_) {
    if ((categories & without) == 0) return !negated_;
  }
  return negated_;
}

}  // namespace deepserve::runner
