#include "runner/model/chat/jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner::jinja {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_character(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Every kind of line break as "\n", and without one at the end.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t at = 0; at < source.size(); ++at) {
    if (source[at] != '\r') {
      text += source[at];
    } else if (at + 1 == source.size() || source[at + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)), rest_(source_) {}

  Result<std::vector<Token>> run() {
    while (!rest_.empty()) TRY(text_and_tag());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  tl::unexpected<Error> bad(std::string_view what) const {
    return fail(Code::kNotSupported, "line {}: {}", line_, what);
  }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  void skip(size_t bytes) {
    line_ += static_cast<uint32_t>(std::count(rest_.begin(), rest_.begin() + static_cast<long>(bytes), '\n'));
    if (bytes != 0) at_line_start_ = rest_[bytes - 1] == '\n';
    rest_.remove_prefix(bytes);
  }

  void skip_blanks() {
    size_t bytes = 0;
    while (bytes < rest_.size() && is_blank(rest_[bytes])) ++bytes;
    skip(bytes);
  }

  // The text before the next tag without what the tag takes off its end.
  std::string_view trimmed(std::string_view text, char kind, char sign) const {
    if (sign == '-') {
      while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      return text;
    }
    if (sign == '+' || kind == '{') return text;
    const size_t line_break = text.rfind('\n');
    if (line_break == text.npos && !at_line_start_) return text;
    const size_t begin = line_break == text.npos ? 0 : line_break + 1;
    const bool blank = std::all_of(text.begin() + static_cast<long>(begin), text.end(), is_blank);
    return blank ? text.substr(0, begin) : text;
  }

  static size_t next_tag(std::string_view text) {
    for (size_t at = text.find('{'); at != text.npos; at = text.find('{', at + 1)) {
      if (at + 1 < text.size() && std::string_view("{%#").find(text[at + 1]) != std::string_view::npos)
        return at;
    }
    return text.npos;
  }

  Result<void> text_and_tag() {
    const size_t begin = next_tag(rest_);
    if (begin == rest_.npos) {
      add(TokenKind::kText, std::string(rest_));
      skip(rest_.size());
      return {};
    }
    const char kind = rest_[begin + 1];
    const char sign = begin + 2 < rest_.size() ? rest_[begin + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    const std::string_view text = trimmed(rest_.substr(0, begin), kind, sign);
    if (!text.empty()) add(TokenKind::kText, std::string(text));
    skip(begin + (has_sign ? 3 : 2));
    if (kind == '#') return comment();
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    return tag(kind == '%');
  }

  Result<void> comment() {
    const size_t end = rest_.find("#}");
    if (end == rest_.npos) return bad("a comment does not end");
    const char sign = end == 0 ? '\0' : rest_[end - 1];
    skip(end + 2);
    end_of_tag(sign, true);
    return {};
  }

  void end_of_tag(char sign, bool trims_line_break) {
    if (sign == '-') {
      skip_blanks();
    } else if (sign != '+' && trims_line_break && rest_.starts_with('\n')) {
      skip(1);
    }
  }

  // True when a tag ends here; takes it.
  bool take_end(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    const bool has_sign = rest_.starts_with('-') || (block && rest_.starts_with('+'));
    const char sign = has_sign ? rest_[0] : '\0';
    if (!rest_.substr(has_sign ? 1 : 0).starts_with(end)) return false;
    add(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    skip(end.size() + (has_sign ? 1 : 0));
    end_of_tag(sign, block);
    return true;
  }

  Result<void> tag(bool block) {
    std::string open;  // brackets
    while (true) {
      skip_blanks();
      if (rest_.empty()) return bad("a tag does not end");
      if (open.empty() && take_end(block)) return {};
      const char c = rest_[0];
      if (c == '"' || c == '\'') {
        TRY(string(c));
      } else if (is_digit(c)) {
        number();
      } else if (is_name_character(c)) {
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_name_character);
        const auto bytes = static_cast<size_t>(end - rest_.begin());
        add(TokenKind::kName, std::string(rest_.substr(0, bytes)));
        skip(bytes);
      } else {
        TRY(operation(open));
      }
    }
  }

  size_t digits_from(size_t at) const {
    while (at < rest_.size() && is_digit(rest_[at])) ++at;
    return at;
  }

  void number() {
    size_t end = digits_from(0);
    bool is_float = false;
    if (end < rest_.size() && rest_[end] == '.' && digits_from(end + 1) > end + 1) {
      is_float = true;
      end = digits_from(end + 1);
    }
    if (end < rest_.size() && (rest_[end] == 'e' || rest_[end] == 'E')) {
      const bool has_sign = end + 1 < rest_.size() && (rest_[end + 1] == '+' || rest_[end + 1] == '-');
      const size_t digits = end + (has_sign ? 2 : 1);
      if (digits_from(digits) > digits) {
        is_float = true;
        end = digits_from(digits);
      }
    }
    add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::string(rest_.substr(0, end)));
    skip(end);
  }

  Result<void> operation(std::string& open) {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                               "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](std::string_view text) { return rest_.starts_with(text); });
    if (found == std::end(kOperators)) return bad("an unknown character in a tag");
    constexpr std::string_view kOpening = "([{";
    constexpr std::string_view kClosing = ")]}";
    if (kOpening.find(*found) != kOpening.npos) open += (*found)[0];
    if (const size_t closing = kClosing.find(*found); closing != kClosing.npos) {
      if (open.empty() || open.back() != kOpening[closing]) return bad("a bracket without its partner");
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(*found));
    skip(found->size());
    return {};
  }

  Result<void> string(char quote) {
    std::string text;
    for (size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] == quote) {
        add(TokenKind::kString, std::move(text));
        skip(at + 1);
        return {};
      }
      if (rest_[at] == '\\' && at + 1 < rest_.size()) {
        TRY_ASSIGN(at, escape(text, at + 1));
      } else {
        text += rest_[at];
      }
    }
    return bad("a string does not end");
  }

  // The escape whose letter is at `at`; where it ends.
  Result<size_t> escape(std::string& text, size_t at) const {
    constexpr std::string_view kLetters = "\\'\"abfnrtv";
    constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char letter = rest_[at];
    if (const size_t which = kLetters.find(letter); which != kLetters.npos) {
      text += kMeanings[which];
      return at;
    }
    const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    if (letter == '\n') return at;  // a line goes on
    if (is_digit(letter) || letter == 'N') return bad("an octal or named escape is not supported");
    if (digits == 0) {  // Python keeps the backslash of an escape that it does not know
      text += '\\';
      text += letter;
      return at;
    }
    uint32_t code = 0;
    if (at + digits >= rest_.size()) return bad("an escape without its digits");
    const char* begin = rest_.data() + at + 1;
    const auto [end, problem] = std::from_chars(begin, begin + digits, code, 16);
    const bool character = code < 0xd800 || (code >= 0xe000 && code <= 0x10ffff);
    if (problem != std::errc() || end != begin + digits || !character)
      return bad("an escape that is no character");
    append_utf8(text, code);
    return at + digits;
  }

  const std::string source_;
  std::string_view rest_;
  uint32_t line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> cut_into_tokens(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace deepserve::runner::jinja
