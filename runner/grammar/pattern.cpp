#include "runner/grammar/pattern.h"

#include <optional>
#include <vector>

#include "ipc/base/utf8.h"
#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

const CodePointSet& ascii() {
  static const CodePointSet set{{0, 0x7f}};
  return set;
}
const CodePointSet& word_characters() {
  static const CodePointSet set{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return set;
}
const CodePointSet& digits() {
  static const CodePointSet set{{'0', '9'}};
  return set;
}
const CodePointSet& spaces() {
  static const CodePointSet set{{'\t', '\r'}, {' ', ' '}};
  return set;
}
// What some engine calls white space.
const CodePointSet& any_spaces() {
  static const CodePointSet set{{'\t', '\r'},     {0x1c, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                                {0x1680, 0x1680}, {0x180e, 0x180e}, {0x2000, 0x200b}, {0x2028, 0x2029},
                                {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
  return set;
}
const CodePointSet& line_ends() {
  static const CodePointSet set{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
  return set;
}

// A class of characters: what every engine takes to be in it, and what some engine does.
struct Class {
  CodePointSet surely;
  CodePointSet perhaps;

  void add(const Class& other) {
    surely.add(other.surely);
    perhaps.add(other.perhaps);
  }
  void normalize() {
    surely.normalize();
    perhaps.normalize();
  }
  Class complement() const { return {perhaps.complement(), surely.complement()}; }
};

// Beyond ASCII, some engines have letters and digits of all scripts in \w and \d.
Class with_all_scripts(const CodePointSet& set) {
  CodePointSet perhaps = ascii().complement();
  perhaps.add(set);
  perhaps.normalize();
  return {set, perhaps};
}

class PatternParser {
 public:
  PatternParser(std::string_view pattern, Expressions& expressions, JsonText& text)
      : pattern_(pattern), out_(expressions), text_(text) {}

  Result<ExpressionId> parse() {
    TRY_ASSIGN(const ExpressionId expression, parse_choice(0));
    if (at_ < pattern_.size()) return invalid("an unmatched )");
    return expression;
  }

 private:
  tl::unexpected<Error> error(Code code, std::string_view what) const {
    return fail(code, "offset {}: {}", at_, what);
  }
  tl::unexpected<Error> invalid(std::string_view what) const { return error(Code::kInvalidRequest, what); }
  tl::unexpected<Error> unsupported(std::string_view what) const { return error(Code::kNotSupported, what); }

  bool at(char byte) const { return at_ < pattern_.size() && pattern_[at_] == byte; }
  bool take(std::string_view word) {
    if (!pattern_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  ExpressionId anything() { return out_.repeat(text_.spelled(CodePointSet::all()), 0, kUnlimited); }

  Result<ExpressionId> parse_choice(uint32_t depth) {
    if (depth > kGrammarDepthMax) return unsupported("groups nested too deeply");
    std::vector<ExpressionId> parts;
    do {
      const bool from_start = depth > 0 || take("^");
      TRY_ASSIGN(const ExpressionId part, parse_sequence(depth));
      const bool to_end = depth > 0 || take("$");
      if (!from_start || !to_end) {
        parts.push_back(out_.sequence(
            {from_start ? out_.empty() : anything(), part, to_end ? out_.empty() : anything()}));
      } else {
        parts.push_back(part);
      }
      if (at_ < pattern_.size() && !at('|') && !at(')')) return unsupported("$ before the end");
    } while (take("|"));
    return out_.choice(parts);
  }

  Result<ExpressionId> parse_sequence(uint32_t depth) {
    std::vector<ExpressionId> parts;
    while (at_ < pattern_.size() && !at('|') && !at(')')) {
      if (at('$') && depth == 0) break;
      if (at('$') || at('^')) return unsupported("an anchor inside of the pattern");
      TRY_ASSIGN(ExpressionId part, parse_item(depth));
      TRY_ASSIGN(part, parse_quantifier(part));
      parts.push_back(part);
      if (out_.size() > kExpressionsMax) return unsupported("the pattern is too large");
    }
    return out_.sequence(parts);
  }

  Result<ExpressionId> parse_item(uint32_t depth) {
    if (take("(")) return parse_group(depth);
    if (take("[")) return parse_class();
    if (take(".")) return text_.spelled(line_ends().complement());
    if (take("\\")) {
      TRY_ASSIGN(const Class escaped, parse_escape(false));
      return text_.spelled(escaped.surely);
    }
    if (at('*') || at('+') || at('?') || at('{')) return invalid("nothing to repeat");
    if (at('}') || at(']')) return invalid("a bracket that was not opened");
    TRY_ASSIGN(const char32_t character, parse_character());
    return text_.spelled(CodePointSet{{character, character}});
  }

  Result<ExpressionId> parse_group(uint32_t depth) {
    if (take("?")) {
      if (at('=') || at('!')) return unsupported("look-ahead (?= or (?!");
      if (take("<")) {
        if (at('=') || at('!')) return unsupported("look-behind (?<= or (?<!");
        const size_t end = pattern_.find('>', at_);
        if (end == pattern_.npos || end == at_) return invalid("the name of a group does not end");
        at_ = end + 1;
      } else if (!take(":")) {
        return unsupported("flags (?");
      }
    }
    TRY_ASSIGN(const ExpressionId group, parse_choice(depth + 1));
    if (!take(")")) return invalid(") is missing");
    return group;
  }

  Result<ExpressionId> parse_quantifier(ExpressionId part) {
    uint32_t at_least = 0, at_most = kUnlimited;
    if (take("+")) {
      at_least = 1;
    } else if (take("?")) {
      at_most = 1;
    } else if (take("{")) {
      TRY_ASSIGN(at_least, parse_count());
      at_most = at_least;
      if (take(",")) {
        at_most = kUnlimited;
        if (!at('}')) {
          TRY_ASSIGN(at_most, parse_count());
        }
      }
      if (!take("}")) return invalid("} is missing");
      if (at_most < at_least) return invalid("a repetition's largest count is below its smallest");
    } else if (!take("*")) {
      return part;
    }
    take("?");  // a lazy one matches the same strings
    if (at('*') || at('+') || at('?') || at('{')) return invalid("a repetition of a repetition");
    return out_.repeat(part, at_least, at_most);
  }

  Result<uint32_t> parse_count() {
    uint64_t count = 0;
    const size_t begin = at_;
    for (; at_ < pattern_.size() && pattern_[at_] >= '0' && pattern_[at_] <= '9'; ++at_) {
      count = count * 10 + static_cast<uint64_t>(pattern_[at_] - '0');
      if (count > kRepetitionMax)
        return unsupported(fmt::format("a repetition of more than {}", kRepetitionMax));
    }
    if (at_ == begin) return invalid("a count is expected after {");
    return static_cast<uint32_t>(count);
  }

  Result<ExpressionId> parse_class() {
    const bool negated = take("^");
    if (at(']')) return unsupported("an empty class");
    Class all;
    while (!take("]")) {
      if (at_ >= pattern_.size()) return invalid("] is missing");
      if (at('[')) return unsupported("[ inside of a class; write \\[");
      TRY_ASSIGN(const Class first, parse_class_atom());
      const bool is_range = at('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
      if (!is_range) {
        all.add(first);
        continue;
      }
      ++at_;
      TRY_ASSIGN(const Class last, parse_class_atom());
      const auto from = single(first), to = single(last);
      if (!from || !to) return invalid("a range between classes");
      if (*to < *from) return invalid("a range that ends before it begins");
      const CodePointSet range{{*from, *to}};
      all.add({range, range});
    }
    all.normalize();
    return text_.spelled(negated ? all.complement().surely : all.surely);
  }

  Result<Class> parse_class_atom() {
    if (take("\\")) return parse_escape(true);
    TRY_ASSIGN(const char32_t character, parse_character());
    return one(character);
  }

  static Class one(char32_t character) {
    const CodePointSet set{{character, character}};
    return {set, set};
  }
  static std::optional<char32_t> single(const Class& set) {
    const auto ranges = set.perhaps.ranges();
    if (ranges.size() != 1 || ranges[0].first != ranges[0].last) return std::nullopt;
    return ranges[0].first;
  }

  Result<Class> parse_escape(bool in_class) {
    if (at_ >= pattern_.size()) return invalid("\\ at the end");
    const char letter = pattern_[at_++];
    switch (letter) {
      case 'd':
        return with_all_scripts(digits());
      case 'D':
        return with_all_scripts(digits()).complement();
      case 'w':
        return with_all_scripts(word_characters());
      case 'W':
        return with_all_scripts(word_characters()).complement();
      case 's':
        return Class{spaces(), any_spaces()};
      case 'S':
        return Class{spaces(), any_spaces()}.complement();
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_hex(4);
      case 'b':
        if (in_class) return one('\b');
        break;
    }
    --at_;
    if (letter >= '1' && letter <= '9') return unsupported("a back-reference");
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || letter == '_' ||
        static_cast<unsigned char>(letter) >= 0x80) {
      return unsupported(
          fmt::format("the escape \\{}", static_cast<unsigned char>(letter) < 0x80 ? letter : '?'));
    }
    ++at_;
    return one(static_cast<unsigned char>(letter));
  }

  Result<Class> parse_hex(size_t digits_count) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits_count; ++i, ++at_) {
      const char digit = at_ < pattern_.size() ? pattern_[at_] : ' ';
      if (digit >= '0' && digit <= '9') {
        value = value << 4 | static_cast<uint32_t>(digit - '0');
      } else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') {
        value = value << 4 | static_cast<uint32_t>((digit | 0x20) - 'a' + 10);
      } else {
        return unsupported(fmt::format("an escape without its {} hexadecimal digits", digits_count));
      }
    }
    if (value >= 0xd800 && value <= 0xdfff) return unsupported("half of a surrogate pair");
    return one(value);
  }

  Result<char32_t> parse_character() {
    const Utf8Step step = utf8_step(pattern_.substr(at_));
    if (step.kind != Utf8Kind::kCharacter) return invalid("the pattern is not UTF-8");
    const char32_t character = utf8_code_point(pattern_.substr(at_, step.bytes));
    at_ += step.bytes;
    return character;
  }

  std::string_view pattern_;
  Expressions& out_;
  JsonText& text_;
  size_t at_ = 0;
};

}  // namespace

Result<ExpressionId> parse_pattern(std::string_view pattern, Expressions& expressions, JsonText& text) {
  return PatternParser(pattern, expressions, text).parse();
}

}  // namespace deepserve::runner
