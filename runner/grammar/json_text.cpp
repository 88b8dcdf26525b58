#include "runner/grammar/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ipc/base/utf8.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kIndentMax = 32;
constexpr uint32_t kDigitsMax = 16;
constexpr uint32_t kExponentDigitsMax = 2;

// What a string holds without escapes.
CodePointSet unescaped() {
  return {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kCodePointMax}};
}

std::string escape_of(char32_t character) {
  switch (character) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
  }
  return fmt::format("\\u{:04x}", static_cast<uint32_t>(character));
}

}  // namespace

template <typename Make>
ExpressionId JsonText::once(Lazy& lazy, std::string name, Make make) {
  if (!lazy.made) {
    lazy.made = true;
    lazy.rule = out_.new_rule(std::move(name));  // before it is defined: it may refer to itself
    out_.define(lazy.rule, make());
  }
  return out_.reference(lazy.rule);
}

ExpressionId JsonText::space() {
  return once(space_, "space", [this] {
    const ExpressionId blank = out_.choice({out_.literal(" "), out_.literal("\t")});
    const ExpressionId line = out_.sequence({out_.literal("\n"), out_.repeat(blank, 0, kIndentMax)});
    return out_.optional(out_.choice({out_.literal(" "), line}));
  });
}

ExpressionId JsonText::any_value() {
  return once(value_, "value", [this] {
    return out_.choice({any_object(), any_array(), any_string(), any_number(), boolean(), null()});
  });
}

ExpressionId JsonText::any_object() {
  return once(object_, "object", [this] {
    const ExpressionId member = out_.sequence({free_key({}), colon(), any_value()});
    const ExpressionId more = out_.repeat(out_.sequence({comma(), member}), 0, kUnlimited);
    return bracketed('{', out_.sequence({member, more}), true, '}');
  });
}

ExpressionId JsonText::any_array() {
  return once(array_, "array", [this] {
    const ExpressionId more = out_.repeat(out_.sequence({comma(), any_value()}), 0, kUnlimited);
    return bracketed('[', out_.sequence({any_value(), more}), true, ']');
  });
}

ExpressionId JsonText::any_string() {
  return once(string_, "string", [this] { return quoted(out_.repeat(string_character(), 0, kUnlimited)); });
}

ExpressionId JsonText::any_number() {
  return once(number_, "number", [this] {
    const ExpressionId digit = out_.byte_range('0', '9');
    const ExpressionId fraction = out_.sequence({out_.literal("."), out_.repeat(digit, 1, kDigitsMax)});
    const ExpressionId sign = out_.optional(out_.choice({out_.literal("+"), out_.literal("-")}));
    const ExpressionId exponent = out_.sequence({out_.choice({out_.literal("e"), out_.literal("E")}), sign,
                                                 out_.repeat(digit, 1, kExponentDigitsMax)});
    return out_.sequence({any_integer(), out_.optional(fraction), out_.optional(exponent)});
  });
}

ExpressionId JsonText::any_integer() {
  return once(integer_, "integer", [this] {
    const ExpressionId more = out_.repeat(out_.byte_range('0', '9'), 0, kDigitsMax - 1);
    const ExpressionId magnitude =
        out_.choice({out_.literal("0"), out_.sequence({out_.byte_range('1', '9'), more})});
    return out_.sequence({out_.optional(out_.literal("-")), magnitude});
  });
}

ExpressionId JsonText::string_character() {
  return once(character_, "character", [this] {
    const auto one_of = [this](std::string_view bytes) {
      std::vector<ExpressionId> parts;
      for (size_t i = 0; i < bytes.size(); i += 2)
        parts.push_back(out_.byte_range(static_cast<uint8_t>(bytes[i]), static_cast<uint8_t>(bytes[i + 1])));
      return out_.choice(parts);
    };
    const ExpressionId hex = one_of("09afAF");
    const ExpressionId d = one_of("ddDD");
    const ExpressionId other = out_.sequence({one_of("09acACefEF"), hex, hex, hex});
    const ExpressionId below_surrogates = out_.sequence({d, one_of("07"), hex, hex});
    const ExpressionId pair =
        out_.sequence({d, one_of("89abAB"), hex, hex, out_.literal("\\u"), d, one_of("cfCF"), hex, hex});
    const ExpressionId unicode =
        out_.sequence({out_.literal("u"), out_.choice({other, below_surrogates, pair})});
    const ExpressionId escape =
        out_.sequence({out_.literal("\\"), out_.choice({one_of("\"\"\\\\//bbffnnrrtt"), unicode})});
    return out_.choice({out_.characters(unescaped()), escape});
  });
}

ExpressionId JsonText::spelled(const CodePointSet& set) {
  std::vector<ExpressionId> parts, letters;
  const CodePointSet plain = set.intersection(unescaped());
  if (!plain.empty()) parts.push_back(out_.characters(plain));
  // The last digits of \u000. and \u001.
  std::vector<ExpressionId> digits[2];
  for (char32_t character = 0; character <= '\\'; ++character) {
    if (!set.contains(character) || plain.contains(character)) continue;
    const std::string escape = escape_of(character);
    const auto last = static_cast<uint8_t>(escape.back());
    (escape.size() == 2 ? letters : digits[character / 16]).push_back(out_.byte_range(last, last));
  }
  if (!letters.empty()) parts.push_back(out_.sequence({out_.literal("\\"), out_.choice(letters)}));
  for (const size_t row : {0, 1}) {
    if (digits[row].empty()) continue;
    parts.push_back(out_.sequence({out_.literal(row == 0 ? "\\u000" : "\\u001"), out_.choice(digits[row])}));
  }
  return out_.choice(parts);
}

ExpressionId JsonText::spelled(std::string_view text) {
  return out_.literal(json_spelling(text));
}

ExpressionId JsonText::colon() {
  return out_.sequence({out_.literal(":"), out_.optional(out_.literal(" "))});
}

ExpressionId JsonText::comma() {
  return out_.sequence({out_.literal(","), space()});
}

ExpressionId JsonText::quoted(ExpressionId characters) {
  return out_.sequence({out_.literal("\""), characters, out_.literal("\"")});
}

// All texts but `except`: along the tree of their bytes, a text may end where none of them does, and leave
// it at any byte.
ExpressionId JsonText::free_key(std::span<const std::string> except) {
  has_free_keys_ = true;
  const ExpressionId any =
      once(free_key_, "key", [this] { return out_.repeat(out_.characters(unescaped()), 0, kUnlimited); });
  if (except.empty()) return quoted(any);
  // By characters, not bytes: what follows a character is any text again.
  struct Node {
    std::map<char32_t, size_t> children;
    bool ends = false;
  };
  std::vector<Node> tree(1);
  for (std::string_view key : except) {
    size_t node = 0;
    while (!key.empty()) {
      const size_t bytes = utf8_step(key).bytes;
      const char32_t character = utf8_code_point(key.substr(0, bytes));
      key.remove_prefix(bytes);
      auto [place, is_new] = tree[node].children.try_emplace(character, tree.size());
      node = place->second;
      if (is_new) tree.emplace_back();
    }
    tree[node].ends = true;
  }
  std::vector<ExpressionId> rest(tree.size());
  for (size_t node = tree.size(); node-- > 0;) {  // children come after their parents
    CodePointSet others;
    std::vector<ExpressionId> parts;
    for (const auto& [character, child] : tree[node].children) {
      others.add({character, character});
      const CodePointSet one{{character, character}};
      if (unescaped().contains(character))
        parts.push_back(out_.sequence({out_.characters(one), rest[child]}));
    }
    others.normalize();
    parts.push_back(out_.sequence({out_.characters(others.complement().intersection(unescaped())), any}));
    if (!tree[node].ends) parts.push_back(out_.empty());
    rest[node] = out_.choice(parts);
  }
  return quoted(rest[0]);
}

ExpressionId JsonText::bracketed(char open, ExpressionId inside, bool may_be_empty, char close) {
  ExpressionId body = out_.sequence({space(), inside});
  if (may_be_empty) body = out_.optional(body);
  return out_.sequence({out_.literal({&open, 1}), body, space(), out_.literal({&close, 1})});
}

std::string json_spelling(std::string_view text) {
  std::string spelling = "\"";
  for (const char byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || byte == '"' || byte == '\\') {
      spelling += escape_of(value);
    } else {
      spelling += byte;
    }
  }
  return spelling + '"';
}

}  // namespace deepserve::runner
