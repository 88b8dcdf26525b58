#include "runner/model/chat/jinja/json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner::jinja {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Value> document() {
    TRY_ASSIGN(Value value, this->value(0));
    skip_space();
    if (at_ != text_.size()) return bad("something follows the value");
    return value;
  }

 private:
  tl::unexpected<Error> bad(std::string_view what) const {
    return fail(Code::kInvalidRequest, "no JSON at byte {}: {}", at_, what);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<Value> value(uint32_t depth) {
    if (depth > kDepthMax) return bad("nested too deeply");
    skip_space();
    if (peek() == '{') return object(depth);
    if (peek() == '[') return array(depth);
    if (peek() == '"') {
      TRY_ASSIGN(const std::string text, string());
      return Value(text, Author::kUser);
    }
    if (take_word("true")) return Value(true);
    if (take_word("false")) return Value(false);
    if (take_word("null")) return Value(None());
    return number();
  }

  Result<Value> object(uint32_t depth) {
    std::vector<Dict::Entry> entries;
    take('{');
    if (!take('}')) {
      do {
        skip_space();
        if (peek() != '"') return bad("a key is missing");
        TRY_ASSIGN(const std::string key, string());
        if (!take(':')) return bad("a colon is missing");
        TRY_ASSIGN(Value item, value(depth + 1));
        entries.emplace_back(MarkedText(key, Author::kUser), std::move(item));
      } while (take(','));
      if (!take('}')) return bad("an object does not end");
    }
    TRY_ASSIGN(auto dict, Dict::make(std::move(entries)));
    return Value(std::move(dict));
  }

  Result<Value> array(uint32_t depth) {
    std::vector<Value> items;
    take('[');
    if (!take(']')) {
      do {
        TRY_ASSIGN(Value item, value(depth + 1));
        items.push_back(std::move(item));
      } while (take(','));
      if (!take(']')) return bad("a list does not end");
    }
    TRY_ASSIGN(auto list, List::make(std::move(items)));
    return Value(std::move(list));
  }

  Result<std::string> string() {
    std::string text;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        if (utf8_valid_prefix(text) != text.size()) return bad("a string that is not UTF-8");
        return text;
      }
      if (static_cast<unsigned char>(c) < 0x20) return bad("a control character in a string");
      if (c == '\\') {
        TRY(escape(text));
      } else {
        text += c;
      }
    }
    return bad("a string does not end");
  }

  Result<void> escape(std::string& text) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    ++at_;
    if (const size_t which = kLetters.find(peek()); which != kLetters.npos && at_ < text_.size()) {
      text += kMeanings[which];
      return {};
    }
    TRY_ASSIGN(char32_t code, unit());
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_ + 1).starts_with("\\u")) {
      at_ += 2;
      TRY_ASSIGN(const char32_t low, unit());
      if (low < 0xdc00 || low >= 0xe000) return bad("half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code >= 0xd800 && code < 0xe000) return bad("half of a surrogate pair");
    append_utf8(text, code);
    return {};
  }

  // The "uXXXX" of an escape; ends on its last digit.
  Result<char32_t> unit() {
    uint32_t code = 0;
    if (peek() != 'u' || at_ + 5 > text_.size()) return bad("an unknown escape");
    const char* begin = text_.data() + at_ + 1;
    const auto [end, problem] = std::from_chars(begin, begin + 4, code, 16);
    if (problem != std::errc() || end != begin + 4) return bad("an unknown escape");
    at_ += 4;
    return static_cast<char32_t>(code);
  }

  size_t digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - begin;
  }

  Result<Value> number() {
    const size_t begin = at_;
    if (peek() == '-') ++at_;
    const bool zero_first = peek() == '0';
    const size_t whole_digits = digits();
    if (whole_digits == 0 || (zero_first && whole_digits > 1)) return bad("a value is missing");
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      ++at_;
      if (digits() == 0) return bad("a fraction without digits");
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (digits() == 0) return bad("an exponent without digits");
    }
    const std::string_view spelt = text_.substr(begin, at_ - begin);
    return integer ? Result<Value>(integer_value(spelt)) : float_value(spelt);
  }

  static Value integer_value(std::string_view spelt) {
    int64_t number = 0;
    const auto [end, problem] = std::from_chars(spelt.data(), spelt.data() + spelt.size(), number);
    if (problem == std::errc()) return Value(number);
    return Value(std::make_shared<const BigInteger>(BigInteger{std::string(spelt)}));
  }

  Result<Value> float_value(std::string_view spelt) const {
    double number = 0;
    const auto [end, problem] = std::from_chars(spelt.data(), spelt.data() + spelt.size(), number);
    if (problem == std::errc()) return Value(number);
    const std::string_view exponent = spelt.substr(std::min(spelt.find_first_of("eE"), spelt.size()));
    const bool tiny = exponent.find('-') != exponent.npos;
    if (!tiny) return bad("a number beyond what a double holds");
    return Value(spelt[0] == '-' ? -0.0 : 0.0);
  }

  std::string_view text_;
  size_t at_ = 0;
};

void append_string(std::string& out, std::string_view text, bool ascii_only) {
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  out += '"';
  while (!text.empty()) {
    const size_t bytes = std::max<size_t>(1, utf8_step(text).bytes);
    const std::string_view character = text.substr(0, bytes);
    text.remove_prefix(bytes);
    if (const size_t which = kEscaped.find(character[0]); which != kEscaped.npos) {
      out += '\\';
      out += kLetters[which];
    } else if (static_cast<unsigned char>(character[0]) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(character[0]));
    } else if (ascii_only && (bytes > 1 || character[0] == '\x7f')) {
      const char32_t code = utf8_code_point(character);
      if (code >= 0x10000) {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}\\u{:04x}",
                       static_cast<unsigned>(0xd800 + ((code - 0x10000) >> 10)),
                       static_cast<unsigned>(0xdc00 + ((code - 0x10000) & 0x3ff)));
      } else {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(code));
      }
    } else {
      out += character;
    }
  }
  out += '"';
}

class Writer {
 public:
  Writer(const JsonStyle& style, Budget& budget)
      : style_(style),
        budget_(budget),
        item_separator_(style.item_separator.value_or(style.indent ? "," : ", ")),
        key_separator_(style.key_separator.value_or(": ")) {}

  Result<void> append(const Value& value, int level) {
    TRY(budget_.take_bytes(4));  // brackets and words
    if (const MarkedText* text = value.if_text()) {
      TRY(append_text(text->bytes()));
    } else if (const List* list = value.if_list()) {
      TRY(append_list(*list, level));
    } else if (const Dict* dict = value.if_dict()) {
      TRY(append_dict(*dict, level));
    } else if (value.is_none()) {
      out += "null";
    } else if (const bool* boolean = value.if_boolean()) {
      out += *boolean ? "true" : "false";
    } else if (const double* number = value.if_float(); number != nullptr && !std::isfinite(*number)) {
      out += std::isnan(*number) ? "NaN" : *number < 0 ? "-Infinity" : "Infinity";
    } else if (value.is_number()) {
      TRY_ASSIGN(const MarkedText digits, to_text(value, budget_));
      out += digits.bytes();
    } else {
      return fail(Code::kInvalidRequest, "a value of type {} is not JSON", value.type_name());
    }
    return {};
  }

  std::string out;

 private:
  // What stands before an item, or before the end of a list.
  Result<void> break_line(int level, std::string_view separator) {
    const size_t blanks =
        style_.indent ? static_cast<size_t>(*style_.indent) * static_cast<size_t>(level) : 0;
    TRY(budget_.take_bytes(separator.size() + 1 + blanks));
    out += separator;
    if (style_.indent) out += '\n';
    out.append(blanks, ' ');
    return {};
  }

  Result<void> append_text(std::string_view text) {
    TRY(budget_.take_bytes(text.size() + 2));
    const size_t before = out.size();
    append_string(out, text, style_.ascii_only);
    return budget_.take_bytes(out.size() - before - (text.size() + 2));
  }

  Result<void> append_list(const List& list, int level) {
    out += '[';
    bool first = true;
    for (const Value& item : list.items()) {
      TRY(break_line(level + 1, first ? "" : item_separator_));
      first = false;
      TRY(append(item, level + 1));
    }
    if (!first) TRY(break_line(level, ""));
    out += ']';
    return {};
  }

  Result<void> append_dict(const Dict& dict, int level) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::sort(entries.begin(), entries.end(),
                [](const auto* a, const auto* b) { return a->first.bytes() < b->first.bytes(); });
    }
    out += '{';
    bool first = true;
    for (const Dict::Entry* entry : entries) {
      TRY(break_line(level + 1, first ? "" : item_separator_));
      first = false;
      TRY(append_text(entry->first.bytes()));
      TRY(budget_.take_bytes(key_separator_.size()));
      out += key_separator_;
      TRY(append(entry->second, level + 1));
    }
    if (!first) TRY(break_line(level, ""));
    out += '}';
    return {};
  }

  const JsonStyle& style_;
  Budget& budget_;
  const std::string item_separator_;
  const std::string key_separator_;
};

}  // namespace

Result<Value> parse_json(std::string_view text) {
  return Reader(text).document();
}

Result<std::string> dump_json(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer writer(style, budget);
  TRY(writer.append(value, 0));
  return std::move(writer.out);
}

}  // namespace deepserve::runner::jinja
