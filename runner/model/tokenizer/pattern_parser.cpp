#include "runner/model/tokenizer/pattern_parser.h"

#include <algorithm>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr size_t kExpressionBytesMax = size_t{64} << 10;
constexpr size_t kInstructionsMax = 20'000;
constexpr size_t kSetsMax = 4'000;
constexpr uint32_t kDepthMax = 32;
constexpr uint32_t kRepeatMax = 10'000;
constexpr uint32_t kBehindMax = 255;

uint32_t times(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return static_cast<uint32_t>(std::min<uint64_t>(product, 0xffffffff));
}

uint32_t plus(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{a} + b, 0xffffffff));
}

bool is_ascii_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_ascii_alphanumeric(char32_t c) {
  return is_ascii_letter(c) || (c >= '0' && c <= '9');
}

}  // namespace

Result<SplitPattern> SplitPattern::make(std::string_view expression) {
  return PatternParser::parse(expression);
}

template <typename... Args>
tl::unexpected<Error> PatternParser::refuse(fmt::format_string<Args...> text, Args&&... args) const {
  return fail(Code::kNotSupported, "regular expression: offset {}: {} is not supported", at_,
              fmt::format(text, std::forward<Args>(args)...));
}

bool PatternParser::accept(std::string_view word) {
  if (!text_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

char32_t PatternParser::take_character() {
  const size_t bytes = utf8_step(text_.substr(at_)).bytes;
  const char32_t character = utf8_code_point(text_.substr(at_, bytes));
  at_ += bytes;
  return character;
}

Result<SplitPattern> PatternParser::parse(std::string_view expression) {
  PatternParser parser(expression);
  if (expression.size() > kExpressionBytesMax) return parser.refuse("its {} bytes", expression.size());
  if (utf8_valid_prefix(expression) != expression.size()) return parser.refuse("text that is no UTF-8");
  TRY_ASSIGN(Fragment whole, parser.alternatives());
  if (!parser.at_end()) return parser.refuse("an unopened \")\"");
  if (whole.characters_min == 0) return parser.refuse("an expression that can match nothing");
  whole.code.push_back({.operation = Operation::kMatched});
  parser.made_.program_ = std::move(whole.code);
  return std::move(parser.made_);
}

Result<PatternParser::Fragment> PatternParser::alternatives() {
  if (++depth_ > kDepthMax) return refuse("more than {} groups in each other", kDepthMax);
  TRY_ASSIGN(Fragment all, sequence());
  std::vector<Fragment> branches;
  branches.push_back(std::move(all));
  while (accept("|")) {
    TRY_ASSIGN(Fragment branch, sequence());
    branches.push_back(std::move(branch));
  }
  --depth_;
  if (branches.size() == 1) return std::move(branches[0]);
  size_t left = 0;  // instructions from here to the end: a split and a jump for each branch but the last
  for (const Fragment& branch : branches) left += branch.code.size() + 2;
  left -= 2;
  if (left > kInstructionsMax) return refuse("an expression of this size");
  Fragment joined{{}, SplitPattern::kNoLimit, 0};
  for (const Fragment& branch : branches) {
    const bool is_last = &branch == &branches.back();
    const size_t length = branch.code.size();
    if (!is_last)
      joined.code.push_back({.operation = Operation::kSplit, .other = static_cast<int32_t>(length + 2)});
    joined.code.insert(joined.code.end(), branch.code.begin(), branch.code.end());
    left -= length + 1;
    if (!is_last) joined.code.push_back({.operation = Operation::kJump, .next = static_cast<int32_t>(left)});
    left -= is_last ? 0 : 1;
    joined.characters_min = std::min(joined.characters_min, branch.characters_min);
    joined.characters_max = std::max(joined.characters_max, branch.characters_max);
  }
  return joined;
}

Result<PatternParser::Fragment> PatternParser::sequence() {
  Fragment joined;
  while (!at_end() && peek() != '|' && peek() != ')') {
    TRY_ASSIGN(Fragment part, atom());
    bool is_repeated = false;
    TRY_ASSIGN(const Repeat repeat, repeat_after(is_repeated));
    if (is_repeated) {
      TRY_ASSIGN(part, repeated(std::move(part), repeat));
    }
    joined.code.insert(joined.code.end(), part.code.begin(), part.code.end());
    joined.characters_min = plus(joined.characters_min, part.characters_min);
    joined.characters_max = plus(joined.characters_max, part.characters_max);
    if (joined.code.size() > kInstructionsMax) return refuse("an expression of this size");
  }
  return joined;
}

Result<PatternParser::Fragment> PatternParser::atom() {
  const auto place = [](Operation operation) { return Fragment{{{.operation = operation}}, 0, 0}; };
  if (accept("(")) return group();
  if (accept("^")) return place(Operation::kLineBegin);
  if (accept("$")) return place(Operation::kLineEnd);
  if (accept("\\A")) return place(Operation::kTextBegin);
  if (accept("\\z")) return place(Operation::kTextEnd);
  if (accept("[")) {
    TRY_ASSIGN(CharacterSet set, bracket());
    return of_set(std::move(set));
  }
  CharacterSet set;
  if (accept(".")) {
    set.add('\n');
    set.negate();
    return of_set(std::move(set));
  }
  if (accept("\\")) {
    char32_t character = 0;
    TRY_ASSIGN(const bool is_set, escape(set, character));
    if (!is_set) add_folded(set, character, character);
    return of_set(std::move(set));
  }
  if (std::string_view("?*+{").find(peek()) != std::string_view::npos) return refuse("\"{}\" here", peek());
  const char32_t character = take_character();
  if (ignore_case_ && character >= 0x80) return refuse("a letter beyond ASCII inside of (?i:)");
  add_folded(set, character, character);
  return of_set(std::move(set));
}

Result<PatternParser::Group> PatternParser::group_head() {
  if (accept("?<=")) return Group{.look = true, .behind = true};
  if (accept("?<!")) return Group{.look = true, .negative = true, .behind = true};
  if (accept("?=")) return Group{.look = true};
  if (accept("?!")) return Group{.look = true, .negative = true};
  if (accept("?>")) return Group{.atomic = true};
  if (accept("?:")) return Group{};
  if (accept("?i:")) {
    ignore_case_ = true;
    return Group{};
  }
  if (peek() == '?' || peek() == '*') return refuse("the group \"({}\"", text_.substr(at_, 2));
  return Group{};
}

Result<PatternParser::Fragment> PatternParser::group() {
  const bool ignored_case = ignore_case_;
  TRY_ASSIGN(const Group head, group_head());
  TRY_ASSIGN(Fragment inside, alternatives());
  if (!accept(")")) return refuse("an unclosed \"(\"");
  ignore_case_ = ignored_case;
  if (!head.look && !head.atomic) return inside;
  if (head.behind && inside.characters_min != inside.characters_max)
    return refuse("a look behind of no fixed length");
  if (head.behind && inside.characters_min > kBehindMax) return refuse("a look behind of this length");
  Instruction first{.operation = head.look ? Operation::kLook : Operation::kAtomic,
                    .negative = head.negative};
  first.next = static_cast<int32_t>(inside.code.size() + 2);
  if (head.behind) first.behind = inside.characters_min;
  inside.code.insert(inside.code.begin(), first);
  inside.code.push_back({.operation = Operation::kMatched});
  if (head.look) inside.characters_min = inside.characters_max = 0;
  return inside;
}

Result<uint32_t> PatternParser::number() {
  uint32_t value = 0;
  const size_t begin = at_;
  while (peek() >= '0' && peek() <= '9') {
    value = value * 10 + static_cast<uint32_t>(text_[at_++] - '0');
    if (value > kRepeatMax) return refuse("a repeat of more than {}", kRepeatMax);
  }
  if (at_ == begin) return refuse("\"{{\" without a number");
  return value;
}

Result<PatternParser::Repeat> PatternParser::repeat_after(bool& found) {
  found = true;
  if (accept("{")) {
    TRY_ASSIGN(const uint32_t min, number());
    uint32_t max = min;
    if (accept(",")) {
      max = SplitPattern::kNoLimit;
      if (peek() != '}') {
        TRY_ASSIGN(max, number());
      }
    }
    if (!accept("}") || max < min) return refuse("such a repeat");
    if (peek() == '?' || peek() == '+' || peek() == '*') return refuse("\"{}\" after a repeat", peek());
    return Repeat{min, max, Greed::kGreedy};
  }
  Repeat repeat{0, SplitPattern::kNoLimit, Greed::kGreedy};
  if (accept("?")) {
    repeat.max = 1;
  } else if (accept("+")) {
    repeat.min = 1;
  } else if (!accept("*")) {
    found = false;
    return repeat;
  }
  if (accept("?")) repeat.greed = Greed::kLazy;
  if (repeat.greed == Greed::kGreedy && accept("+")) repeat.greed = Greed::kPossessive;
  if (std::string_view("?*+{").find(peek()) != std::string_view::npos && !at_end())
    return refuse("\"{}\" after a repeat", peek());
  return repeat;
}

Result<PatternParser::Fragment> PatternParser::repeated(Fragment what, const Repeat& repeat) {
  Fragment made;
  made.characters_min = times(what.characters_min, repeat.min);
  made.characters_max = times(what.characters_max, repeat.max);
  if (what.code.size() == 1 && what.code[0].operation == Operation::kSet) {
    made.code.push_back({.operation = Operation::kRepeatSet,
                         .greed = repeat.greed,
                         .set = what.code[0].set,
                         .min = repeat.min,
                         .max = repeat.max});
    return made;
  }
  if (what.characters_min == 0) return refuse("a repeat of what may be empty");
  const bool endless = repeat.max == SplitPattern::kNoLimit;
  const uint64_t copies = endless ? uint64_t{repeat.min} + 1 : repeat.max;
  if (copies * (what.code.size() + 2) > kInstructionsMax) return refuse("an expression of this size");
  const auto append = [&] { made.code.insert(made.code.end(), what.code.begin(), what.code.end()); };
  const auto length = static_cast<int32_t>(what.code.size());
  const auto split_to = [&](int32_t end) {  // one more, or on at `end`
    const bool lazy = repeat.greed == Greed::kLazy;
    made.code.push_back({.operation = Operation::kSplit, .next = lazy ? end : 1, .other = lazy ? 1 : end});
  };
  for (uint32_t i = 0; i < repeat.min; ++i) append();
  if (endless) {
    split_to(length + 2);
    append();
    made.code.push_back({.operation = Operation::kJump, .next = -(length + 1)});
  } else {
    for (uint32_t left = repeat.max - repeat.min; left > 0; --left) {
      split_to(static_cast<int32_t>(left) * (length + 1));
      append();
    }
  }
  if (repeat.greed != Greed::kPossessive) return made;
  Instruction atomic{.operation = Operation::kAtomic};
  atomic.next = static_cast<int32_t>(made.code.size() + 2);
  made.code.insert(made.code.begin(), atomic);
  made.code.push_back({.operation = Operation::kMatched});
  return made;
}

Result<CharacterSet> PatternParser::bracket() {
  CharacterSet set;
  const bool negated = accept("^");
  if (peek() == ']') return refuse("\"]\" at the beginning of a set");
  while (!accept("]")) {
    if (at_end()) return refuse("an unclosed \"[\"");
    TRY(bracket_item(set));
  }
  if (negated) set.negate();
  return set;
}

Result<void> PatternParser::bracket_item(CharacterSet& set) {
  const auto one = [&](bool& is_set) -> Result<char32_t> {
    char32_t character = 0;
    if (peek() == '[' || text_.substr(at_).starts_with("&&")) return refuse("a set inside of a set");
    if (!accept("\\")) {
      character = take_character();
    } else {
      TRY_ASSIGN(is_set, escape(set, character));
    }
    if (ignore_case_ && character >= 0x80) return refuse("a letter beyond ASCII inside of (?i:)");
    return character;
  };
  bool is_set = false;
  TRY_ASSIGN(const char32_t first, one(is_set));
  if (is_set) return {};
  char32_t last = first;
  const bool is_range = peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
  if (is_range) {
    ++at_;
    TRY_ASSIGN(last, one(is_set));
    if (is_set || last < first) return refuse("such a range");
  }
  add_folded(set, first, last);
  return {};
}

Result<bool> PatternParser::escape(CharacterSet& set, char32_t& character) {
  if (at_end()) return refuse("a backslash at the end");
  constexpr std::string_view kNamed = "rntfvae";
  constexpr std::string_view kNamedBytes = "\r\n\t\f\v\a\x1b";
  const char name = peek();
  if (const size_t index = kNamed.find(name); index != kNamed.npos) {
    ++at_;
    character = static_cast<char32_t>(kNamedBytes[index]);
    return false;
  }
  constexpr CategorySet kDecimal = CategorySet{1} << static_cast<int>(Category::kNd);
  switch (name) {
    case 's':
    case 'd':
      set.add_categories(name == 's' ? kWhiteSpace : kDecimal);
      ++at_;
      return true;
    case 'S':
    case 'D':
      set.add_all_but(name == 'S' ? kWhiteSpace : kDecimal);
      ++at_;
      return true;
    case 'p':
    case 'P': {
      ++at_;
      TRY_ASSIGN(const CategorySet categories, property());
      if (name == 'p')
        set.add_categories(categories);
      else
        set.add_all_but(categories);
      return true;
    }
    case 'x':
    case 'u': {
      ++at_;
      const bool braced = name == 'x' && peek() == '{';
      TRY_ASSIGN(character, braced ? braced_hexadecimal() : hexadecimal(name == 'x' ? 2 : 4));
      if (name == 'x' && !braced && character >= 0x80) return refuse("a byte beyond ASCII");
      return false;
    }
    default:
      if (is_ascii_alphanumeric(static_cast<uint8_t>(name))) return refuse("\"\\{}\"", name);
      character = take_character();
      return false;
  }
}

Result<char32_t> PatternParser::hexadecimal(size_t digits) {
  char32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char c = peek();
    const bool decimal = c >= '0' && c <= '9';
    const char lower = static_cast<char>(c | 0x20);
    if (!decimal && !(lower >= 'a' && lower <= 'f')) return refuse("such a number");
    value = value * 16 + static_cast<char32_t>(decimal ? c - '0' : lower - 'a' + 10);
    ++at_;
  }
  return value;
}

Result<char32_t> PatternParser::braced_hexadecimal() {
  const size_t end = text_.find('}', at_);
  if (end == text_.npos || end - at_ < 2 || end - at_ > 7) return refuse("such a number");
  ++at_;
  TRY_ASSIGN(const char32_t value, hexadecimal(end - at_));
  ++at_;
  if (value > 0x10ffff) return refuse("a number that is no code point");
  return value;
}

Result<CategorySet> PatternParser::property() {
  const size_t end = text_.find('}', at_);
  if (peek() != '{' || end == text_.npos) return refuse("a property without its name");
  const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
  const std::optional<CategorySet> set = category_set_named(name);
  if (!set) return refuse("the property \"{}\"", name.substr(0, 64));
  at_ = end + 1;
  return *set;
}

void PatternParser::add_folded(CharacterSet& set, char32_t first, char32_t last) const {
  set.add_range(first, last);
  if (!ignore_case_) return;
  for (char32_t c = first; c <= last && c < 0x80; ++c) {
    if (!is_ascii_letter(c)) continue;
    set.add(c ^ 0x20);
    if ((c | 0x20) == 's') set.add(0x17f);   // the long s
    if ((c | 0x20) == 'k') set.add(0x212a);  // the sign for Kelvin
  }
}

Result<PatternParser::Fragment> PatternParser::of_set(CharacterSet set) {
  if (made_.sets_.size() >= kSetsMax) return refuse("an expression of this size");
  set.finish();
  Fragment made{{{.operation = Operation::kSet}}, 1, 1};
  made.code[0].set = static_cast<uint32_t>(made_.sets_.size());
  made_.sets_.push_back(std::move(set));
  return made;
}

}  // namespace deepserve::runner
