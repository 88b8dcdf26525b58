// Compiles the text of a regular expression to a SplitPattern's program. For split_pattern.cpp alone.
#pragma once

#include <string_view>
#include <vector>

#include "runner/model/tokenizer/split_pattern.h"

namespace deepserve::runner {

class PatternParser {
 public:
  static Result<SplitPattern> parse(std::string_view expression);

 private:
  using Instruction = SplitPattern::Instruction;
  using Operation = SplitPattern::Operation;
  using Greed = SplitPattern::Greed;

  // A piece of program that can stand anywhere, and how many characters it takes.
  struct Fragment {
    std::vector<Instruction> code;
    uint32_t characters_min = 0;
    uint32_t characters_max = 0;
  };
  struct Repeat {
    uint32_t min;
    uint32_t max;
    Greed greed;
  };
  struct Group {
    bool look = false;
    bool atomic = false;
    bool negative = false;
    bool behind = false;
  };

  explicit PatternParser(std::string_view expression) : text_(expression) {}

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool accept(std::string_view word);
  char32_t take_character();
  template <typename... Args>
  tl::unexpected<Error> refuse(fmt::format_string<Args...> text, Args&&... args) const;

  Result<Fragment> alternatives();
  Result<Fragment> sequence();
  Result<Fragment> atom();
  Result<Fragment> group();
  Result<Group> group_head();
  Result<Repeat> repeat_after(bool& found);
  Result<uint32_t> number();
  Result<Fragment> repeated(Fragment what, const Repeat& repeat);
  Result<CharacterSet> bracket();
  Result<void> bracket_item(CharacterSet& set);
  // An escape after its backslash: a set (true), or one character in `character`.
  Result<bool> escape(CharacterSet& set, char32_t& character);
  Result<char32_t> hexadecimal(size_t digits);
  Result<char32_t> braced_hexadecimal();
  Result<CategorySet> property();
  void add_folded(CharacterSet& set, char32_t first, char32_t last) const;
  Result<Fragment> of_set(CharacterSet set);

  std::string_view text_;
  size_t at_ = 0;
  uint32_t depth_ = 0;
  bool ignore_case_ = false;
  SplitPattern made_;
};

}  // namespace deepserve::runner
