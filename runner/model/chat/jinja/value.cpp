#include "runner/model/chat/jinja/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner::jinja {
namespace {

Result<void> check_extent(const Extent& extent) {
  if (extent.depth <= kDepthMax && extent.values <= kValuesMax) return {};
  return fail(Code::kInvalidRequest, "a list or dictionary of {} values in {} levels is too much",
              extent.values, extent.depth);
}

// Python's repr() of a text. Beyond ASCII, characters that Python calls unprintable would be escaped: the
// ones that occur are the spaces and the controls of Latin-1.
void append_quoted(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  out += quote;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    const std::string_view character = text.substr(0, step.bytes);
    text.remove_prefix(step.bytes);
    const char32_t code = step.kind == Utf8Kind::kCharacter ? utf8_code_point(character) : 0;
    if (character == "\n") {
      out += "\\n";
    } else if (character == "\r") {
      out += "\\r";
    } else if (character == "\t") {
      out += "\\t";
    } else if (character[0] == quote || character == "\\") {
      out += '\\';
      out += character;
    } else if (code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0xad) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint32_t>(code));
    } else if ((code >= 0x2000 && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) ||
               (code >= 0x205f && code <= 0x206f) || code == 0x3000 || code == 0xfeff) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint32_t>(code));
    } else {
      out += character;
    }
  }
  out += quote;
}

Result<void> append_counted(std::string& out, std::string_view text, Budget& budget) {
  TRY(budget.take_bytes(text.size() + 2));
  const size_t before = out.size();
  append_quoted(out, text);
  return budget.take_bytes(out.size() - before - (text.size() + 2));
}

Result<void> append_representation(std::string& out, const Value& value, Budget& budget) {
  if (const MarkedText* text = value.if_text()) return append_counted(out, text->bytes(), budget);
  TRY(budget.take_bytes(4));
  if (const List* list = value.if_list()) {
    out += list->is_tuple() ? '(' : '[';
    std::string_view separator;
    for (const Value& item : list->items()) {
      out += separator;
      TRY(append_representation(out, item, budget));
      separator = ", ";
    }
    if (list->is_tuple() && list->items().size() == 1) out += ',';
    out += list->is_tuple() ? ')' : ']';
    return {};
  }
  if (const Dict* dict = value.if_dict()) {
    out += '{';
    std::string_view separator;
    for (const auto& [key, item] : dict->entries()) {
      out += separator;
      TRY(append_counted(out, key.bytes(), budget));
      out += ": ";
      TRY(append_representation(out, item, budget));
      separator = ", ";
    }
    out += '}';
    return {};
  }
  if (value.is_undefined()) {
    out += "Undefined";
    return {};
  }
  TRY_ASSIGN(const MarkedText text, to_text(value, budget));
  out += text.bytes();
  return {};
}

bool equal_lists(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first.bytes());
    return other != nullptr && equal(entry.second, *other);
  });
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.if_big_integer() != nullptr && b.if_big_integer() != nullptr)
    return a.if_big_integer()->digits == b.if_big_integer()->digits;
  if (a.if_integer() != nullptr && b.if_integer() != nullptr) return *a.if_integer() == *b.if_integer();
  return a.as_double() == b.as_double();
}

}  // namespace

void Extent::add(const Value& value) {
  const Extent inner = value.extent();
  depth = std::max(depth, inner.depth + 1);
  values += inner.values;
  bytes += inner.bytes;
  borrows = borrows || inner.borrows;
}

Result<std::shared_ptr<const List>> List::make(std::vector<Value> items, bool is_tuple) {
  auto list = std::make_shared<List>();
  for (const Value& item : items) list->extent_.add(item);
  TRY(check_extent(list->extent_));
  list->items_ = std::move(items);
  list->is_tuple_ = is_tuple;
  return std::shared_ptr<const List>(std::move(list));
}

Result<std::shared_ptr<const Dict>> Dict::make(std::vector<Entry> entries) {
  auto dict = std::make_shared<Dict>();
  for (auto& [key, value] : entries) {
    const auto [at, is_new] = dict->index_.emplace(key.bytes(), dict->entries_.size());
    if (is_new) {
      dict->entries_.emplace_back(std::move(key), std::move(value));
    } else {
      dict->entries_[at->second].second = std::move(value);
    }
  }
  for (const Entry& entry : dict->entries_) {
    dict->extent_.add(entry.second);
    dict->extent_.bytes += entry.first.size();
  }
  TRY(check_extent(dict->extent_));
  return std::shared_ptr<const Dict>(std::move(dict));
}

const Value* Dict::find(std::string_view key) const {
  const auto found = index_.find(std::string(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

double Value::as_double() const {
  if (const bool* boolean = if_boolean()) return *boolean ? 1 : 0;
  if (const int64_t* number = if_integer()) return static_cast<double>(*number);
  if (const double* number = if_float()) return *number;
  double number = 0;
  if (const BigInteger* big = if_big_integer())
    std::from_chars(big->digits.data(), big->digits.data() + big->digits.size(), number);
  return number;
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return if_big_integer() != nullptr || as_double() != 0;
  if (const MarkedText* text = if_text()) return !text->empty();
  if (const List* list = if_list()) return !list->items().empty();
  if (const Dict* dict = if_dict()) return !dict->entries().empty();
  return true;
}

std::string_view Value::type_name() const {
  constexpr std::array<std::string_view, 13> kNames = {
      "Undefined", "NoneType", "bool",      "int",  "int",   "float",   "str",
      "list",      "dict",     "Namespace", "loop", "macro", "function"};
  static_assert(kNames.size() == std::variant_size_v<Data>);
  return kNames[data_.index()];
}

Extent Value::extent() const {
  if (const List* list = if_list()) return list->extent();
  if (const Dict* dict = if_dict()) return dict->extent();
  Extent extent;
  if (const MarkedText* text = if_text()) extent.bytes = text->size();
  extent.borrows = if_namespace() != nullptr || if_loop() != nullptr || if_macro() != nullptr;
  return extent;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.type_name() != b.type_name()) return false;
  if (const MarkedText* text = a.if_text()) return text->bytes() == b.if_text()->bytes();
  if (const List* list = a.if_list()) return equal_lists(list->items(), b.if_list()->items());
  if (const Dict* dict = a.if_dict()) return equal_dicts(*dict, *b.if_dict());
  return a.if_namespace() == b.if_namespace() && a.if_loop() == b.if_loop() && a.if_macro() == b.if_macro();
}

Result<MarkedText> to_text(const Value& value, Budget& budget) {
  if (const MarkedText* text = value.if_text()) {
    TRY(budget.take_bytes(text->memory_bytes()));
    return *text;
  }
  if (value.is_undefined()) return MarkedText();
  if (value.is_none()) return MarkedText("None", Author::kUser);
  if (const bool* boolean = value.if_boolean()) return MarkedText(*boolean ? "True" : "False", Author::kUser);
  if (const int64_t* number = value.if_integer()) return MarkedText(std::to_string(*number), Author::kUser);
  if (const BigInteger* number = value.if_big_integer()) {
    TRY(budget.take_bytes(number->digits.size()));
    return MarkedText(number->digits, Author::kUser);
  }
  if (const double* number = value.if_float()) return MarkedText(float_text(*number), Author::kUser);
  if (value.if_list() == nullptr && value.if_dict() == nullptr)
    return fail(Code::kInvalidRequest, "a {} has no text", value.type_name());
  std::string text;
  TRY(append_representation(text, value, budget));
  return MarkedText(text, Author::kUser);
}

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const auto shortest =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific);
  const std::string_view scientific(buffer.data(), static_cast<size_t>(shortest.ptr - buffer.data()));
  const size_t e = scientific.find('e');
  int exponent = 0;
  const std::string_view power = scientific.substr(e + (scientific[e + 1] == '+' ? 2 : 1));
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  // Python changes to the other notation at 1e16 and below 1e-4, and writes two digits of exponent at least.
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
  std::string text(buffer.data(), fixed.ptr);
  if (text.find('.') == text.npos) text += ".0";
  return text;
}

}  // namespace deepserve::runner::jinja
