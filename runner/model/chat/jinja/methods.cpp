// The methods of texts and dictionaries (call_method of attributes.h).
#include <algorithm>
#include <array>

#include "runner/model/chat/jinja/attributes.h"
#include "runner/model/chat/jinja/text_functions.h"

namespace deepserve::runner::jinja {
namespace {

using TextMethod = Result<Value> (*)(const MarkedText& text, const Arguments& arguments, Budget& budget);

Result<const MarkedText*> text_argument(const Arguments& arguments, size_t index, std::string_view name) {
  const Value* value = arguments.find(index, name);
  const MarkedText* text = value == nullptr ? nullptr : value->if_text();
  if (text == nullptr) return fail(Code::kInvalidRequest, "argument {} is no text", index + 1);
  return text;
}

Result<int64_t> count_argument(const Arguments& arguments, size_t index, std::string_view name) {
  const Value* value = arguments.find(index, name);
  if (value == nullptr) return -1;
  if (value->if_integer() == nullptr) return fail(Code::kInvalidRequest, "{} is no integer", name);
  return *value->if_integer();
}

template <Side kSide>
Result<Value> stripped(const MarkedText& text, const Arguments& arguments, Budget&) {
  const Value* set = arguments.find(0, "chars");
  if (set == nullptr || set->is_none()) return Value(strip(text, kSide, std::nullopt));
  TRY_ASSIGN(const MarkedText* characters, text_argument(arguments, 0, "chars"));
  return Value(strip(text, kSide, characters->bytes()));
}

template <LetterCase kCase>
Result<Value> in_case(const MarkedText& text, const Arguments&, Budget&) {
  TRY_ASSIGN(MarkedText changed, change_case(text, kCase));
  return Value(std::move(changed));
}

template <bool kFromRight>
Result<Value> parts(const MarkedText& text, const Arguments& arguments, Budget& budget) {
  TRY_ASSIGN(const int64_t count, count_argument(arguments, 1, "maxsplit"));
  const Value* given = arguments.find(0, "sep");
  const bool at_spaces = given == nullptr || given->is_none();
  if (at_spaces && kFromRight) return fail(Code::kNotSupported, "rsplit() at white space is not supported");
  std::optional<std::string_view> separator;
  if (!at_spaces) {
    TRY_ASSIGN(const MarkedText* named, text_argument(arguments, 0, "sep"));
    separator = named->bytes();
  }
  if (kFromRight) {
    TRY_ASSIGN(auto texts, split_from_right(text, *separator, count, budget));
    return list_of_texts(std::move(texts), budget);
  }
  TRY_ASSIGN(auto texts, split(text, separator, count, budget));
  return list_of_texts(std::move(texts), budget);
}

// Of one text, or of one of several.
template <bool kAtStart>
Result<Value> begins_or_ends(const MarkedText& text, const Arguments& arguments, Budget&) {
  const auto does = [&](const Value& part) {
    const MarkedText* other = part.if_text();
    return other != nullptr &&
           (kAtStart ? text.bytes().starts_with(other->bytes()) : text.bytes().ends_with(other->bytes()));
  };
  if (arguments.positional.size() == 1 && arguments.positional[0].if_list() != nullptr) {
    const auto& items = arguments.positional[0].if_list()->items();
    return Value(std::any_of(items.begin(), items.end(), does));
  }
  TRY(text_argument(arguments, 0, ""));
  return Value(does(arguments.positional[0]));
}

Result<Value> replaced(const MarkedText& text, const Arguments& arguments, Budget& budget) {
  TRY_ASSIGN(const MarkedText* old_part, text_argument(arguments, 0, "old"));
  TRY_ASSIGN(const MarkedText* new_part, text_argument(arguments, 1, "new"));
  TRY_ASSIGN(const int64_t count, count_argument(arguments, 2, "count"));
  TRY_ASSIGN(MarkedText made, replace(text, old_part->bytes(), *new_part, count, budget));
  return Value(std::move(made));
}

Result<Value> lines(const MarkedText& text, const Arguments&, Budget& budget) {
  TRY_ASSIGN(auto texts, split_lines(text, budget));
  return list_of_texts(std::move(texts), budget);
}

Result<Value> position(const MarkedText& text, const Arguments& arguments, Budget&) {
  TRY_ASSIGN(const MarkedText* part, text_argument(arguments, 0, ""));
  const size_t at = text.bytes().find(part->bytes());
  if (at == std::string_view::npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(count_characters(text.bytes().substr(0, at))));
}

Result<Value> occurrences(const MarkedText& text, const Arguments& arguments, Budget&) {
  TRY_ASSIGN(const MarkedText* part, text_argument(arguments, 0, ""));
  if (part->empty()) return fail(Code::kInvalidRequest, "count() of nothing");
  int64_t count = 0;
  for (size_t at = 0; (at = text.bytes().find(part->bytes(), at)) != std::string_view::npos;
       at += part->size())
    ++count;
  return Value(count);
}

Result<Value> joined(const MarkedText& text, const Arguments& arguments, Budget& budget) {
  if (arguments.positional.size() != 1) return fail(Code::kInvalidRequest, "join() of one list");
  TRY_ASSIGN(const std::vector<Value> items, items_of(arguments.positional[0], budget));
  MarkedText made;
  bool first = true;
  for (const Value& item : items) {
    if (item.if_text() == nullptr) return fail(Code::kInvalidRequest, "join() of a {}", item.type_name());
    TRY(budget.take_bytes(text.memory_bytes() + item.if_text()->memory_bytes()));
    if (!first) made.append(text);
    first = false;
    made.append(*item.if_text());
  }
  return Value(std::move(made));
}

Result<Value> is_digits(const MarkedText& text, const Arguments&, Budget&) {
  const std::string_view bytes = text.bytes();
  return Value(!bytes.empty() &&
               std::all_of(bytes.begin(), bytes.end(), [](char c) { return c >= '0' && c <= '9'; }));
}

struct TextMethodRow {
  std::string_view name;
  TextMethod method;
};
constexpr TextMethodRow kTextMethods[] = {
    {"strip", stripped<Side::kBoth>},
    {"lstrip", stripped<Side::kLeft>},
    {"rstrip", stripped<Side::kRight>},
    {"split", parts<false>},
    {"rsplit", parts<true>},
    {"splitlines", lines},
    {"startswith", begins_or_ends<true>},
    {"endswith", begins_or_ends<false>},
    {"replace", replaced},
    {"upper", in_case<LetterCase::kUpper>},
    {"lower", in_case<LetterCase::kLower>},
    {"title", in_case<LetterCase::kTitle>},
    {"capitalize", in_case<LetterCase::kCapitalized>},
    {"find", position},
    {"count", occurrences},
    {"join", joined},
    {"isdigit", is_digits},
};

Result<Value> pairs(const Dict& dict, Budget& budget) {
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries()) {
    TRY(budget.take_bytes(key.size() + kPartBytes));
    TRY_ASSIGN(Value pair, tuple_value({Value(key), value}, budget));
    items.push_back(std::move(pair));
  }
  return list_value(std::move(items), budget);
}

Result<Value> call_dict_method(const Value& value, std::string_view name, const Arguments& arguments,
                               Budget& budget) {
  const Dict& dict = *value.if_dict();
  if (name == "items") return pairs(dict, budget);
  if (name == "keys") {
    TRY_ASSIGN(auto keys, items_of(value, budget));
    return list_value(std::move(keys), budget);
  }
  if (name == "values") {
    std::vector<Value> items;
    for (const Dict::Entry& entry : dict.entries()) items.push_back(entry.second);
    return list_value(std::move(items), budget);
  }
  if (name == "get") {
    const Value* key = arguments.find(0, "key");
    const MarkedText* text = key == nullptr ? nullptr : key->if_text();
    const Value* found = text == nullptr ? nullptr : dict.find(text->bytes());
    if (found != nullptr) return *found;
    const Value* otherwise = arguments.find(1, "default");
    return otherwise == nullptr ? Value(None()) : *otherwise;
  }
  return fail(Code::kNotSupported, "the method {}() of a dictionary is not supported", name);
}

}  // namespace

Result<Value> call_method(const Value& value, std::string_view name, const Arguments& arguments,
                          Budget& budget) {
  if (value.if_dict() != nullptr && has_method(value, name))
    return call_dict_method(value, name, arguments, budget);
  if (const MarkedText* text = value.if_text()) {
    for (const TextMethodRow& row : kTextMethods) {
      if (row.name == name) return row.method(*text, arguments, budget);
    }
  }
  return fail(Code::kNotSupported, "the method {}() of a {} is not supported", name, value.type_name());
}

}  // namespace deepserve::runner::jinja
