#include "runner/grammar/gbnf.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipc/base/utf8.h"
#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

constexpr size_t kNameBytesMax = 128;

bool is_name_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
         byte == '-' || byte == '_';
}

std::optional<uint32_t> hex_digit(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return std::nullopt;
}

class GbnfParser {
 public:
  GbnfParser(std::string_view source, Expressions& expressions) : source_(source), out_(expressions) {}

  Result<RuleId> parse() {
    skip_space(true);
    while (at_ < source_.size()) {
      TRY(parse_rule());
      skip_space(true);
    }
    for (const auto& [name, known] : rules_) {
      if (out_.rule(known.rule).expression) continue;
      at_ = known.first_use;
      return error(Code::kInvalidRequest, fmt::format("rule {} is used but not defined", name));
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return fail(Code::kInvalidRequest, "the grammar has no rule root");
    return root->second.rule;
  }

 private:
  struct Known {
    RuleId rule;
    size_t first_use;
  };

  tl::unexpected<Error> error(Code code, std::string_view what) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at_ && i < source_.size(); ++i) {
      ++column;
      if (source_[i] == '\n') ++line, column = 1;
    }
    return fail(code, "grammar line {}, column {}: {}", line, column, what);
  }
  tl::unexpected<Error> invalid(std::string_view what) const { return error(Code::kInvalidRequest, what); }
  tl::unexpected<Error> unsupported(std::string_view what) const { return error(Code::kNotSupported, what); }

  bool at(char byte) const { return at_ < source_.size() && source_[at_] == byte; }
  bool take(std::string_view word) {
    if (!source_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  void skip_space(bool newlines) {
    while (at_ < source_.size()) {
      const char byte = source_[at_];
      if (byte == '#') {
        while (at_ < source_.size() && source_[at_] != '\n' && source_[at_] != '\r') ++at_;
      } else if (byte == ' ' || byte == '\t' || (newlines && (byte == '\n' || byte == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  Result<std::string> parse_name() {
    const size_t begin = at_;
    while (at_ < source_.size() && is_name_byte(source_[at_])) ++at_;
    if (at_ == begin) return invalid("the name of a rule is expected");
    if (at_ - begin > kNameBytesMax) return unsupported("the name of a rule is longer than 128 bytes");
    return std::string(source_.substr(begin, at_ - begin));
  }

  Result<RuleId> rule_named(const std::string& name, size_t place) {
    const auto found = rules_.find(name);
    if (found != rules_.end()) return found->second.rule;
    if (rules_.size() >= kGrammarRulesMax)
      return unsupported(fmt::format("more than {} rules", kGrammarRulesMax));
    const RuleId rule = out_.new_rule(name);
    rules_.emplace(name, Known{rule, place});
    return rule;
  }

  Result<void> parse_rule() {
    const size_t begin = at_;
    TRY_ASSIGN(const std::string name, parse_name());
    skip_space(false);
    if (!take("::=")) return invalid("::= is expected after the name of a rule");
    skip_space(true);
    TRY_ASSIGN(const RuleId rule, rule_named(name, begin));
    if (out_.rule(rule).expression) {
      at_ = begin;
      return invalid(fmt::format("rule {} is defined twice", name));
    }
    TRY_ASSIGN(const ExpressionId expression, parse_choice(0));
    out_.define(rule, expression);
    if (at_ < source_.size() && source_[at_] != '\n' && source_[at_] != '\r')
      return invalid("a new line or the end is expected after a rule");
    return {};
  }

  Result<ExpressionId> parse_choice(uint32_t depth) {
    if (depth > kGrammarDepthMax)
      return unsupported(fmt::format("groups within groups more than {} deep", kGrammarDepthMax));
    std::vector<ExpressionId> parts;
    do {
      skip_space(true);
      TRY_ASSIGN(const ExpressionId part, parse_sequence(depth));
      parts.push_back(part);
      if (depth == 0) skip_to_bar();
    } while (take("|"));
    return out_.choice(parts);
  }

  // To a | on one of the next lines, if it is the first thing there.
  void skip_to_bar() {
    const size_t here = at_;
    skip_space(true);
    if (!at('|')) at_ = here;
  }

  Result<ExpressionId> parse_sequence(uint32_t depth) {
    std::vector<ExpressionId> parts;
    while (at_ < source_.size()) {
      const char byte = source_[at_];
      // The name of the next rule ends this one where newlines are skipped: inside of a group only.
      if (byte == '|' || byte == ')' || byte == '\n' || byte == '\r') break;
      TRY_ASSIGN(ExpressionId part, parse_item(depth));
      skip_space(depth > 0);
      TRY_ASSIGN(part, parse_repetitions(part, depth));
      parts.push_back(part);
      if (out_.size() > kExpressionsMax) return unsupported("the grammar is too large");
    }
    return out_.sequence(parts);
  }

  Result<ExpressionId> parse_item(uint32_t depth) {
    if (take("\"")) return parse_literal();
    if (take("[")) return parse_class();
    if (take(".")) return out_.characters(CodePointSet::all());
    if (at('<') || at('!')) return unsupported("tokens in angle brackets");
    if (take("(")) {
      skip_space(true);
      TRY_ASSIGN(const ExpressionId group, parse_choice(depth + 1));
      skip_space(true);
      if (!take(")")) return invalid(") is expected");
      return group;
    }
    if (!is_name_byte(source_[at_]))
      return invalid("a literal, a class, a group or the name of a rule is expected");
    const size_t begin = at_;
    TRY_ASSIGN(const std::string name, parse_name());
    TRY_ASSIGN(const RuleId rule, rule_named(name, begin));
    return out_.reference(rule);
  }

  Result<ExpressionId> parse_repetitions(ExpressionId part, uint32_t depth) {
    while (at_ < source_.size()) {
      if (take("*")) {
        part = out_.repeat(part, 0, kUnlimited);
      } else if (take("+")) {
        part = out_.repeat(part, 1, kUnlimited);
      } else if (take("?")) {
        part = out_.optional(part);
      } else if (take("{")) {
        TRY_ASSIGN(part, parse_braces(part));
      } else {
        break;
      }
      skip_space(depth > 0);
      if (out_.size() > kExpressionsMax) return unsupported("the grammar is too large");
    }
    return part;
  }

  Result<ExpressionId> parse_braces(ExpressionId part) {
    skip_space(false);
    TRY_ASSIGN(const uint32_t at_least, parse_count());
    uint32_t at_most = at_least;
    skip_space(false);
    if (take(",")) {
      skip_space(false);
      at_most = kUnlimited;
      if (!at('}')) {
        TRY_ASSIGN(at_most, parse_count());
        skip_space(false);
      }
    }
    if (!take("}")) return invalid("} is expected");
    if (at_most < at_least) return invalid("a repetition's largest count is below its smallest");
    return out_.repeat(part, at_least, at_most);
  }

  Result<uint32_t> parse_count() {
    uint64_t count = 0;
    const size_t begin = at_;
    for (; at_ < source_.size() && source_[at_] >= '0' && source_[at_] <= '9'; ++at_) {
      count = count * 10 + static_cast<uint64_t>(source_[at_] - '0');
      if (count > kRepetitionMax)
        return unsupported(fmt::format("a repetition of more than {}", kRepetitionMax));
    }
    if (at_ == begin) return invalid("a number is expected");
    return static_cast<uint32_t>(count);
  }

  Result<ExpressionId> parse_literal() {
    std::string bytes;
    while (!take("\"")) {
      if (at_ >= source_.size() || at('\n')) return invalid("a literal does not end");
      TRY_ASSIGN(const char32_t character, parse_character());
      append_utf8(bytes, character);
    }
    return out_.literal(bytes);
  }

  Result<ExpressionId> parse_class() {
    const bool negated = take("^");
    CodePointSet set;
    while (!take("]")) {
      if (at_ >= source_.size() || at('\n')) return invalid("a class of characters does not end");
      TRY_ASSIGN(const char32_t first, parse_character());
      char32_t last = first;
      if (at('-') && at_ + 1 < source_.size() && source_[at_ + 1] != ']') {
        ++at_;
        TRY_ASSIGN(last, parse_character());
      }
      if (last < first) return invalid("a range of characters ends before it begins");
      set.add({first, last});
    }
    set.normalize();
    return out_.characters(negated ? set.complement() : set);
  }

  Result<char32_t> parse_character() {
    if (take("\\")) return parse_escape();
    const Utf8Step step = utf8_step(source_.substr(at_));
    if (step.kind != Utf8Kind::kCharacter) return invalid("the grammar is not UTF-8");
    const char32_t character = utf8_code_point(source_.substr(at_, step.bytes));
    at_ += step.bytes;
    return character;
  }

  Result<char32_t> parse_escape() {
    if (take("x")) return parse_hex(2);
    if (take("u")) return parse_hex(4);
    if (take("U")) return parse_hex(8);
    if (take("n")) return U'\n';
    if (take("r")) return U'\r';
    if (take("t")) return U'\t';
    for (const char byte : {'\\', '"', '[', ']', '-', '^'}) {
      if (take({&byte, 1})) return static_cast<char32_t>(byte);
    }
    return invalid("an unknown escape after \\");
  }

  Result<char32_t> parse_hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const auto digit = at_ < source_.size() ? hex_digit(source_[at_]) : std::nullopt;
      if (!digit) return invalid(fmt::format("{} hexadecimal digits are expected", digits));
      value = value << 4 | *digit;
    }
    if (value > kCodePointMax || (value >= 0xd800 && value <= 0xdfff))
      return invalid("an escape that is no Unicode character");
    return value;
  }

  std::string_view source_;
  Expressions& out_;
  size_t at_ = 0;
  std::map<std::string, Known> rules_;
};

}  // namespace

Result<RuleId> parse_gbnf(std::string_view source, Expressions& expressions) {
  return GbnfParser(source, expressions).parse();
}

}  // namespace deepserve::runner
