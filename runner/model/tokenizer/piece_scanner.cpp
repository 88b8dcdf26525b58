#include "runner/model/tokenizer/piece_scanner.h"

#include <cstdint>

namespace deepserve::runner {
namespace {

struct Character {
  CategorySet set;
  char32_t code_point;
  uint32_t bytes;

  bool is(CategorySet categories) const { return (set & categories) != 0; }
};

// The functions below each do one alternative of an expression, or a part that several have.
class Scan {
 public:
  Scan(const CategoryTable& table, std::string_view text)
      : table_(table), data_(text.data()), size_(text.size()) {}

  size_t size() const { return size_; }
  char byte(size_t at) const { return data_[at]; }
  bool is_break(size_t at) const { return data_[at] == '\n' || data_[at] == '\r'; }

  Character at(size_t at) const {
    const auto lead = static_cast<uint8_t>(data_[at]);
    if (lead < 0x80) return {table_.ascii(lead), lead, 1};
    const auto tail = [&](size_t i) { return char32_t{static_cast<uint8_t>(data_[at + i])} & 0x3f; };
    if (lead < 0xe0) return non_ascii((lead & 0x1fu) << 6 | tail(1), 2);
    if (lead < 0xf0) return non_ascii((lead & 0xfu) << 12 | tail(1) << 6 | tail(2), 3);
    return non_ascii((lead & 7u) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4);
  }

  size_t before(size_t at) const {
    do --at;
    while ((static_cast<uint8_t>(data_[at]) & 0xc0) == 0x80);
    return at;
  }

  // The end of the run, from `at` on, of characters in any of `categories`.
  size_t run_of(CategorySet categories, size_t at) const {
    while (at < size_) {
      const Character character = this->at(at);
      if (!character.is(categories)) break;
      at += character.bytes;
    }
    return at;
  }
  size_t run_without(CategorySet categories, size_t at) const {
    while (at < size_) {
      const Character character = this->at(at);
      if (character.is(categories)) break;
      at += character.bytes;
    }
    return at;
  }
  size_t breaks(size_t at) const {
    while (at < size_ && is_break(at)) ++at;
    return at;
  }

  // 's|'t|'re|'ve|'m|'ll|'d, in any case where `ignore_case`.
  size_t contraction(size_t at, bool ignore_case) const;

  // \s*[\r\n]+|\s+(?!\S)|\s+, the first of them only where `at_breaks`.
  size_t white_space(size_t at, bool at_breaks) const;

 private:
  Character non_ascii(char32_t code_point, uint32_t bytes) const {
    return {table_[code_point], code_point, bytes};
  }

  const CategoryTable& table_;
  const char* data_;
  size_t size_;
};

size_t Scan::contraction(size_t at, bool ignore_case) const {
  if (data_[at] != '\'') return at;
  const auto letter = [&](size_t i) {
    const char c = at + i < size_ ? data_[at + i] : '\0';
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return at + 2;
    case 'r':
    case 'v':
      return letter(2) == 'e' ? at + 3 : at;
    case 'l':
      return letter(2) == 'l' ? at + 3 : at;
    case '\xc5':  // U+017F, the long s, is an s in another case
      return ignore_case && letter(2) == '\xbf' ? at + 3 : at;
    default:
      return at;
  }
}

size_t Scan::white_space(size_t at, bool at_breaks) const {
  const size_t begin = at;
  size_t last = at;         // where the run's last character begins
  size_t after_breaks = 0;  // behind the run's last line break
  while (at < size_) {
    const Character character = this->at(at);
    if (!character.is(kWhiteSpace)) break;
    last = at;
    if (is_break(at)) after_breaks = at + 1;
    at += character.bytes;
  }
  if (at_breaks && after_breaks > 0) return after_breaks;
  return at == size_ || last == begin ? at : last;
}

size_t gpt2(const CategoryTable& table, std::string_view text, size_t at) {
  const Scan scan(table, text);
  if (const size_t end = scan.contraction(at, false); end > at) return end;
  const size_t word = at + (scan.byte(at) == ' ' ? 1 : 0);
  if (word < scan.size()) {
    const Character first = scan.at(word);
    if (first.is(kLetter)) return scan.run_of(kLetter, word);
    if (first.is(kNumber)) return scan.run_of(kNumber, word);
    if (!first.is(kWhiteSpace)) return scan.run_without(kWhiteSpace | kLetter | kNumber, word);
  }
  return scan.white_space(at, false);
}

template <int kDigitsMax>
size_t qwen2(const CategoryTable& table, std::string_view text, size_t at) {
  constexpr CategorySet kWord = kLetter | kNumber;
  const Scan scan(table, text);
  const Character first = scan.at(at);
  if (first.is(kLetter)) return scan.run_of(kLetter, at + first.bytes);
  if (const size_t end = scan.contraction(at, true); end > at) return end;
  if (first.is(kNumber)) {
    size_t end = at + first.bytes;
    for (int count = 1; count < kDigitsMax && end < scan.size() && scan.at(end).is(kNumber); ++count) {
      end += scan.at(end).bytes;
    }
    return end;
  }
  const size_t second = at + first.bytes;
  if (!scan.is_break(at) && second < scan.size() && scan.at(second).is(kLetter))
    return scan.run_of(kLetter, second);
  const size_t marks = scan.byte(at) == ' ' ? second : at;
  if (marks < scan.size() && !scan.at(marks).is(kWhiteSpace | kWord))
    return scan.breaks(scan.run_without(kWhiteSpace | kWord, marks));
  return scan.white_space(at, true);
}

size_t deepseek_v3(const CategoryTable& table, std::string_view text, size_t at) {
  constexpr CategorySet kMarks = kPunctuation | kSymbol;
  const auto is_letter = [&](size_t i) {
    return i < text.size() && static_cast<uint8_t>((text[i] | 0x20) - 'a') < 26;
  };
  const Scan scan(table, text);
  const Character first = scan.at(at);
  const size_t second = at + first.bytes;
  if (first.code_point < 0x80 && first.is(kMarks) && is_letter(second)) {
    size_t end = second;
    while (is_letter(end)) ++end;
    return end;
  }
  const bool may_lead = !scan.is_break(at) && !first.is(kLetter | kMarks);
  if (may_lead && second < scan.size() && scan.at(second).is(kLetter | kMark))
    return scan.run_of(kLetter | kMark, second);
  if (first.is(kLetter | kMark)) return scan.run_of(kLetter | kMark, at);
  const size_t marks = scan.byte(at) == ' ' ? second : at;
  if (marks < scan.size() && scan.at(marks).is(kMarks)) return scan.breaks(scan.run_of(kMarks, marks));
  return first.is(kWhiteSpace) ? scan.white_space(at, true) : at;
}

template <int kDigitsMax>
size_t digits(const CategoryTable& table, std::string_view text, size_t at) {
  const Scan scan(table, text);
  for (int count = 0; count < kDigitsMax && at < scan.size(); ++count) {
    const Character character = scan.at(at);
    if (!character.is(kNumber)) break;
    at += character.bytes;
  }
  return at;
}

size_t cjk(const CategoryTable& table, std::string_view text, size_t at) {
  const Scan scan(table, text);
  while (at < scan.size()) {
    if (static_cast<uint8_t>(scan.byte(at)) < 0x80) break;
    const Character character = scan.at(at);
    const char32_t c = character.code_point;
    if (!((c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff))) break;
    at += character.bytes;
  }
  return at;
}

size_t trailing_spaces(const CategoryTable& table, std::string_view text, size_t at) {
  const Scan scan(table, text);
  // Where no match begins at the start of a run, none does inside of it: a run is looked through only once.
  if (at > 0 && scan.at(scan.before(at)).is(kWhiteSpace)) return at;
  const size_t end = scan.run_of(kWhiteSpace, at);
  if (end == text.size()) return end;
  const size_t last_break = text.substr(at, end - at).rfind('\n');
  return last_break == text.npos ? at : at + last_break;
}

struct KnownExpression {
  std::string_view expression;
  MatchEnd match_end;
};

constexpr KnownExpression kKnown[] = {
    {kGpt2Expression, gpt2},       {kQwen2Expression, qwen2<1>},
    {kLlama3Expression, qwen2<3>}, {kDeepSeekV3Expression, deepseek_v3},
    {kDigitExpression, digits<1>}, {kThreeDigitsExpression, digits<3>},
    {kCjkExpression, cjk},         {kTrailingSpacesExpression, trailing_spaces},
};

}  // namespace

MatchEnd scanner_for(std::string_view expression) {
  for (const KnownExpression& known : kKnown) {
    if (known.expression == expression) return known.match_end;
  }
  return nullptr;
}

}  // namespace deepserve::runner
