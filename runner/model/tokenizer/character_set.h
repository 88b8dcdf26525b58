// A set of code points as a regular expression writes it: "[^\s\p{L}\p{N}]", "[A-Za-z]", "\p{N}", "x".
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "runner/model/tokenizer/unicode_categories.h"

namespace deepserve::runner {

class CharacterSet {
 public:
  void add(char32_t code_point) { add_range(code_point, code_point); }
  void add_range(char32_t first, char32_t last);
  void add_categories(CategorySet categories) { categories_ |= categories; }
  void add_all_but(CategorySet categories) { all_but_.push_back(categories); }
  void negate() { negated_ = true; }

  // To be called once, after the last change and before the first question.
  void finish();

  bool contains(char32_t code_point) const {
    return code_point < kTableSize ? table_[code_point] : search(code_point);
  }

 private:
  static constexpr char32_t kTableSize = 0x100;
  bool search(char32_t code_point) const;

  std::vector<std::pair<char32_t, char32_t>> ranges_;  // first and last; ascending when finished
  CategorySet categories_ = 0;
  std::vector<CategorySet> all_but_;
  bool negated_ = false;
  std::array<bool, kTableSize> table_{};
};

}  // namespace deepserve::runner
