#include "runner/model/chat/jinja/filters.h"

#include <algorithm>
#include <charconv>

#include "runner/model/chat/jinja/attributes.h"
#include "runner/model/chat/jinja/json_text.h"
#include "runner/model/chat/jinja/text_functions.h"
#include "runner/model/chat/jinja/value_tests.h"

namespace deepserve::runner::jinja {
namespace {

using Filter = Result<Value> (*)(const Value& value, const Arguments& arguments, Budget& budget);

// A method of texts as a filter, of whatever has a text.
Result<Value> by_method(const Value& value, std::string_view method, const Arguments& arguments,
                        Budget& budget) {
  TRY_ASSIGN(MarkedText text, to_text(value, budget));
  return call_method(Value(std::move(text)), method, arguments, budget);
}

Result<Value> trim(const Value& value, const Arguments& arguments, Budget& budget) {
  return by_method(value, "strip", arguments, budget);
}

Result<Value> string(const Value& value, const Arguments&, Budget& budget) {
  TRY_ASSIGN(MarkedText text, to_text(value, budget));
  return Value(std::move(text));
}

Result<Value> length(const Value& value, const Arguments&, Budget&) {
  TRY_ASSIGN(const int64_t count, length_of(value));
  return Value(count);
}

Result<Value> to_json(const Value& value, const Arguments& arguments, Budget& budget) {
  JsonStyle style;
  if (const Value* ascii = arguments.find(0, "ensure_ascii")) style.ascii_only = ascii->truth();
  const Value* indent = arguments.find(1, "indent");
  if (indent != nullptr && !indent->is_none()) {
    if (indent->if_integer() == nullptr || *indent->if_integer() < 0 || *indent->if_integer() > 16)
      return fail(Code::kNotSupported, "tojson with an indent other than 0 to 16 is not supported");
    style.indent = static_cast<int>(*indent->if_integer());
  }
  const Value* separators = arguments.find(2, "separators");
  if (separators != nullptr && !separators->is_none()) {
    TRY_ASSIGN(const std::vector<Value> pair, items_of(*separators, budget));
    if (pair.size() != 2 || pair[0].if_text() == nullptr || pair[1].if_text() == nullptr)
      return fail(Code::kInvalidRequest, "tojson's separators are two texts");
    style.item_separator = pair[0].if_text()->bytes();
    style.key_separator = pair[1].if_text()->bytes();
  }
  if (const Value* sort = arguments.find(3, "sort_keys")) style.sort_keys = sort->truth();
  TRY_ASSIGN(const std::string text, dump_json(value, style, budget));
  return Value(text, Author::kUser);
}

Result<Value> join(const Value& value, const Arguments& arguments, Budget& budget) {
  TRY_ASSIGN(const std::vector<Value> items, items_of(value, budget));
  if (arguments.find(1, "attribute") != nullptr)
    return fail(Code::kNotSupported, "join of an attribute is not supported");
  MarkedText separator;
  if (const Value* given = arguments.find(0, "d")) {
    TRY_ASSIGN(separator, to_text(*given, budget));
  }
  MarkedText made;
  for (size_t i = 0; i < items.size(); ++i) {
    TRY(budget.take_bytes(separator.memory_bytes()));
    if (i != 0) made.append(separator);
    TRY_ASSIGN(const MarkedText text, to_text(items[i], budget));
    made.append(text);
  }
  return Value(std::move(made));
}

Result<Value> upper(const Value& value, const Arguments& arguments, Budget& budget) {
  return by_method(value, "upper", arguments, budget);
}

Result<Value> lower(const Value& value, const Arguments& arguments, Budget& budget) {
  return by_method(value, "lower", arguments, budget);
}

Result<Value> capitalize(const Value& value, const Arguments& arguments, Budget& budget) {
  return by_method(value, "capitalize", arguments, budget);
}

Result<Value> replace_part(const Value& value, const Arguments& arguments, Budget& budget) {
  return by_method(value, "replace", arguments, budget);
}

Result<Value> otherwise(const Value& value, const Arguments& arguments, Budget&) {
  const Value* boolean = arguments.find(1, "boolean");
  const bool missing = value.is_undefined() || (boolean != nullptr && boolean->truth() && !value.truth());
  if (!missing) return value;
  const Value* given = arguments.find(0, "default_value");
  return given == nullptr ? Value(MarkedText()) : *given;
}

Result<Value> first(const Value& value, const Arguments&, Budget& budget) {
  if (const List* list = value.if_list()) return list->items().empty() ? Value() : list->items().front();
  TRY_ASSIGN(const std::vector<Value> items, items_of(value, budget));
  return items.empty() ? Value() : items.front();
}

Result<Value> last(const Value& value, const Arguments&, Budget& budget) {
  if (const List* list = value.if_list()) return list->items().empty() ? Value() : list->items().back();
  TRY_ASSIGN(const std::vector<Value> items, items_of(value, budget));
  return items.empty() ? Value() : items.back();
}

Result<Value> list(const Value& value, const Arguments&, Budget& budget) {
  TRY_ASSIGN(std::vector<Value> items, items_of(value, budget));
  return list_value(std::move(items), budget);
}

Result<Value> reverse(const Value& value, const Arguments&, Budget& budget) {
  if (value.if_text() != nullptr) return slice_of(value, Value(), Value(), Value(int64_t{-1}), budget);
  TRY_ASSIGN(std::vector<Value> items, items_of(value, budget));
  std::reverse(items.begin(), items.end());
  return list_value(std::move(items), budget);
}

Result<Value> items(const Value& value, const Arguments&, Budget& budget) {
  if (value.is_undefined()) return list_value({}, budget);
  if (value.if_dict() == nullptr) return fail(Code::kInvalidRequest, "items of a {}", value.type_name());
  return call_method(value, "items", {}, budget);
}

Result<Value> sorted_items(const Value& value, const Arguments& arguments, Budget& budget) {
  if (!arguments.positional.empty() || !arguments.named.empty())
    return fail(Code::kNotSupported, "dictsort with arguments is not supported");
  const Dict* dict = value.if_dict();
  if (dict == nullptr) return fail(Code::kInvalidRequest, "dictsort of a {}", value.type_name());
  std::vector<std::pair<MarkedText, Dict::Entry>> entries;  // by the key in lower case
  for (const Dict::Entry& entry : dict->entries()) {
    TRY_ASSIGN(MarkedText key, change_case(entry.first, LetterCase::kLower));
    entries.emplace_back(std::move(key), entry);
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first.bytes() < b.first.bytes(); });
  std::vector<Value> made;
  for (auto& [lower_key, entry] : entries) {
    TRY_ASSIGN(Value pair, tuple_value({Value(entry.first), entry.second}, budget));
    made.push_back(std::move(pair));
  }
  return list_value(std::move(made), budget);
}

Result<Value> integer(const Value& value, const Arguments& arguments, Budget&) {
  if (value.if_integer() != nullptr || value.if_big_integer() != nullptr) return value;
  if (const bool* boolean = value.if_boolean()) return Value(int64_t{*boolean});
  int64_t number = 0;
  if (const MarkedText* text = value.if_text()) {
    const std::string_view digits = text->bytes();
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (problem == std::errc() && end == digits.data() + digits.size() && !digits.empty())
      return Value(number);
  }
  if (value.if_float() != nullptr || value.if_text() != nullptr)
    return fail(Code::kNotSupported, "int of this {} is not supported", value.type_name());
  const Value* given = arguments.find(0, "default");
  return given == nullptr ? Value(int64_t{0}) : *given;
}

Result<Value> absolute(const Value& value, const Arguments&, Budget&) {
  if (value.if_integer() != nullptr && *value.if_integer() != INT64_MIN)
    return Value(std::abs(*value.if_integer()));
  if (value.if_float() != nullptr) return Value(std::abs(*value.if_float()));
  return fail(Code::kInvalidRequest, "abs of a {}", value.type_name());
}

// "function.name" of a value.
Result<Value> attribute_path(Value value, std::string_view path) {
  while (true) {
    const size_t dot = path.find('.');
    TRY_ASSIGN(value, item_of(value, Value(path.substr(0, dot), Author::kTemplate)));
    if (dot == path.npos) return value;
    path.remove_prefix(dot + 1);
  }
}

Result<std::string_view> name_argument(const Arguments& arguments, size_t index) {
  if (index >= arguments.positional.size() || arguments.positional[index].if_text() == nullptr)
    return fail(Code::kInvalidRequest, "a filter's or a test's name is missing");
  return arguments.positional[index].if_text()->bytes();
}

Arguments arguments_after(const Arguments& arguments, size_t count) {
  Arguments rest;
  for (size_t i = count; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  return rest;
}

Result<Value> map(const Value& value, const Arguments& arguments, Budget& budget) {
  if (!value.truth()) return list_value({}, budget);
  TRY_ASSIGN(const std::vector<Value> items, items_of(value, budget));
  std::vector<Value> made;
  const Value* attribute = arguments.positional.empty() ? arguments.find(0, "attribute") : nullptr;
  const Value* missing = arguments.positional.empty() ? arguments.find(0, "default") : nullptr;
  for (const Value& item : items) {
    if (attribute != nullptr && attribute->if_text() != nullptr) {
      TRY_ASSIGN(Value found, attribute_path(item, attribute->if_text()->bytes()));
      made.push_back(found.is_undefined() && missing != nullptr ? *missing : std::move(found));
      continue;
    }
    TRY_ASSIGN(const std::string_view name, name_argument(arguments, 0));
    if (!is_filter(name) || name == "map")
      return fail(Code::kNotSupported, "the filter \"{}\" is not supported here", name);
    TRY_ASSIGN(Value changed, run_filter(item, name, arguments_after(arguments, 1), budget));
    made.push_back(std::move(changed));
  }
  return list_value(std::move(made), budget);
}

// The items, or attributes of them, that pass a test: truth when none is named.
Result<Value> chosen(const Value& value, const Arguments& arguments, bool by_attribute, bool wanted,
                     Budget& budget) {
  if (!value.truth()) return list_value({}, budget);
  TRY_ASSIGN(const std::vector<Value> items, items_of(value, budget));
  const size_t test_at = by_attribute ? 1 : 0;
  std::vector<Value> kept;
  for (const Value& item : items) {
    Value looked_at = item;
    if (by_attribute) {
      TRY_ASSIGN(const std::string_view path, name_argument(arguments, 0));
      TRY_ASSIGN(looked_at, attribute_path(item, path));
    }
    bool passes = looked_at.truth();
    if (arguments.positional.size() > test_at) {
      TRY_ASSIGN(std::string_view name, name_argument(arguments, test_at));
      if (name == "==") name = "eq";
      if (name == "!=") name = "ne";
      if (!is_value_test(name)) return fail(Code::kNotSupported, "the test \"{}\" is not supported", name);
      TRY_ASSIGN(passes, run_value_test(looked_at, name, arguments_after(arguments, test_at + 1), budget));
    }
    if (passes == wanted) kept.push_back(item);
  }
  return list_value(std::move(kept), budget);
}

template <bool kByAttribute, bool kWanted>
Result<Value> choose(const Value& value, const Arguments& arguments, Budget& budget) {
  return chosen(value, arguments, kByAttribute, kWanted, budget);
}

struct FilterRow {
  std::string_view name;
  Filter filter;
};
constexpr FilterRow kFilters[] = {
    {"trim", trim},
    {"tojson", to_json},
    {"length", length},
    {"count", length},
    {"string", string},
    {"join", join},
    {"upper", upper},
    {"lower", lower},
    {"capitalize", capitalize},
    {"replace", replace_part},
    {"default", otherwise},
    {"d", otherwise},
    {"first", first},
    {"last", last},
    {"list", list},
    {"reverse", reverse},
    {"items", items},
    {"dictsort", sorted_items},
    {"int", integer},
    {"abs", absolute},
    {"map", map},
    {"select", choose<false, true>},
    {"reject", choose<false, false>},
    {"selectattr", choose<true, true>},
    {"rejectattr", choose<true, false>},
};

}  // namespace

bool is_filter(std::string_view name) {
  return std::any_of(std::begin(kFilters), std::end(kFilters),
                     [&](const FilterRow& row) { return row.name == name; });
}

Result<Value> run_filter(const Value& value, std::string_view name, const Arguments& arguments,
                         Budget& budget) {
  for (const FilterRow& row : kFilters) {
    if (row.name == name) return row.filter(value, arguments, budget);
  }
  return fail(Code::kNotSupported, "the filter \"{}\" is not supported", name);
}

}  // namespace deepserve::runner::jinja
