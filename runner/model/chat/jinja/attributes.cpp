#include "runner/model/chat/jinja/attributes.h"

#include <algorithm>

#include "runner/model/chat/jinja/text_functions.h"

namespace deepserve::runner::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"items", "keys",  "values",  "get",        "pop",     "update",
                                             "copy",  "clear", "popitem", "setdefault", "fromkeys"};

Result<Value> loop_attribute(const Loop& loop, std::string_view name) {
  const auto at = static_cast<int64_t>(loop.at);
  const auto length = static_cast<int64_t>(loop.items.size());
  if (name == "index0") return Value(at);
  if (name == "index") return Value(at + 1);
  if (name == "first") return Value(at == 0);
  if (name == "last") return Value(at + 1 == length);
  if (name == "length") return Value(length);
  if (name == "revindex") return Value(length - at);
  if (name == "revindex0") return Value(length - at - 1);
  if (name == "depth") return Value(int64_t{1});
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") return at == 0 ? Value() : loop.items[loop.at - 1];
  if (name == "nextitem") return at + 1 >= length ? Value() : loop.items[loop.at + 1];
  return fail(Code::kNotSupported, "loop.{} is not supported", name);
}

Value element(const std::vector<Value>& items, int64_t index) {
  const auto size = static_cast<int64_t>(items.size());
  if (index < 0) index += size;
  return index < 0 || index >= size ? Value() : items[static_cast<size_t>(index)];
}

// Python's rules for the bounds of a slice; none: from or to the end in the direction of the step.
Result<int64_t> slice_bound(const Value& bound, int64_t size, int64_t step, bool is_begin) {
  if (bound.is_none() || bound.is_undefined())
    return step > 0 ? (is_begin ? 0 : size) : (is_begin ? size - 1 : int64_t{-1});
  const int64_t* given = bound.if_integer();
  if (given == nullptr) return fail(Code::kInvalidRequest, "a slice with a {} in it", bound.type_name());
  const int64_t index = *given < 0 ? std::max<int64_t>(*given, -size) + size : *given;
  if (*given < -size) return step > 0 ? 0 : int64_t{-1};
  return std::min(index, step > 0 ? size : size - 1);
}

}  // namespace

Result<Value> list_value(std::vector<Value> items, Budget& budget) {
  TRY(budget.take_bytes(items.size() * sizeof(Value)));
  TRY_ASSIGN(auto list, List::make(std::move(items)));
  return Value(std::move(list));
}

Result<Value> tuple_value(std::vector<Value> items, Budget& budget) {
  TRY(budget.take_bytes(items.size() * sizeof(Value)));
  TRY_ASSIGN(auto list, List::make(std::move(items), true));
  return Value(std::move(list));
}

Result<Value> list_of_texts(std::vector<MarkedText> texts, Budget& budget) {
  std::vector<Value> items;
  for (MarkedText& text : texts) items.emplace_back(std::move(text));
  return list_value(std::move(items), budget);
}

Result<Value> attribute_of(const Value& value, std::string_view name) {
  if (value.is_undefined()) return fail(Code::kInvalidRequest, "\"{}\" of something that is undefined", name);
  if (has_method(value, name)) return Value(Function::kMethod);
  if (const Loop* loop = value.if_loop()) return loop_attribute(*loop, name);
  if (const Namespace* space = value.if_namespace()) {
    const auto found = space->variables.find(name);
    return found == space->variables.end() ? Value() : found->second;
  }
  const Dict* dict = value.if_dict();
  const Value* found = dict == nullptr ? nullptr : dict->find(name);
  return found == nullptr ? Value() : *found;
}

Result<Value> item_of(const Value& value, const Value& key) {
  if (value.is_undefined()) return fail(Code::kInvalidRequest, "an item of something that is undefined");
  if (const MarkedText* name = key.if_text()) {
    const Dict* dict = value.if_dict();
    const Value* found = dict == nullptr ? nullptr : dict->find(name->bytes());
    return found != nullptr ? Result<Value>(*found) : attribute_of(value, name->bytes());
  }
  const int64_t* index = key.if_integer();
  if (index == nullptr) return Value();
  if (const List* list = value.if_list()) return element(list->items(), *index);
  const MarkedText* text = value.if_text();
  if (text == nullptr) return Value();
  const auto size = static_cast<int64_t>(count_characters(text->bytes()));
  const int64_t at = *index < 0 ? *index + size : *index;
  return at < 0 || at >= size ? Value() : Value(slice_characters(*text, static_cast<size_t>(at), 1));
}

Result<std::vector<Value>> items_of(const Value& value, Budget& budget) {
  if (value.is_undefined()) return std::vector<Value>();
  if (const List* list = value.if_list()) return list->items();
  std::vector<Value> items;
  if (const Dict* dict = value.if_dict()) {
    for (const Dict::Entry& entry : dict->entries()) {
      TRY(budget.take_bytes(entry.first.size() + kPartBytes));
      items.emplace_back(entry.first);
    }
    return items;
  }
  if (const MarkedText* text = value.if_text()) {
    TRY_ASSIGN(auto parts, characters(*text, budget));
    for (MarkedText& character : parts) items.emplace_back(std::move(character));
    return items;
  }
  return fail(Code::kInvalidRequest, "a {} has no items", value.type_name());
}

Result<int64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const List* list = value.if_list()) return static_cast<int64_t>(list->items().size());
  if (const Dict* dict = value.if_dict()) return static_cast<int64_t>(dict->entries().size());
  if (const MarkedText* text = value.if_text()) return static_cast<int64_t>(count_characters(text->bytes()));
  return fail(Code::kInvalidRequest, "a {} has no length", value.type_name());
}

Result<bool> contains(const Value& value, const Value& item) {
  if (value.is_undefined()) return false;
  if (const List* list = value.if_list()) {
    return std::any_of(list->items().begin(), list->items().end(),
                       [&](const Value& one) { return equal(one, item); });
  }
  const MarkedText* text = item.if_text();
  if (const Dict* dict = value.if_dict()) return text != nullptr && dict->find(text->bytes()) != nullptr;
  if (value.if_text() != nullptr && text != nullptr)
    return value.if_text()->bytes().find(text->bytes()) != std::string_view::npos;
  return fail(Code::kInvalidRequest, "whether a {} is in a {}", item.type_name(), value.type_name());
}

Result<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step,
                       Budget& budget) {
  if (value.if_list() == nullptr && value.if_text() == nullptr)
    return fail(Code::kInvalidRequest, "a slice of a {}", value.type_name());
  const List* list = value.if_list();
  const int64_t* given = step.if_integer();
  const int64_t stride = given == nullptr ? 1 : *given;
  TRY_ASSIGN(const int64_t size, length_of(value));
  if (stride == 0 || stride > INT32_MAX || stride < -INT32_MAX)
    return fail(Code::kInvalidRequest, "a slice in steps of {}", stride);
  TRY_ASSIGN(int64_t at, slice_bound(begin, size, stride, true));
  TRY_ASSIGN(const int64_t until, slice_bound(end, size, stride, false));
  if (list == nullptr && stride == 1) {
    const int64_t count = std::max<int64_t>(0, until - at);
    return Value(slice_characters(*value.if_text(), static_cast<size_t>(count == 0 ? 0 : at),
                                  static_cast<size_t>(count)));
  }
  std::vector<MarkedText> letters;
  if (list == nullptr) {
    TRY_ASSIGN(letters, characters(*value.if_text(), budget));
  }
  std::vector<Value> kept;
  MarkedText text;
  for (; stride > 0 ? at < until : at > until; at += stride) {
    if (list != nullptr) {
      kept.push_back(list->items()[static_cast<size_t>(at)]);
    } else {
      text.append(letters[static_cast<size_t>(at)]);
    }
  }
  return list != nullptr ? list_value(std::move(kept), budget) : Value(std::move(text));
}

bool has_method(const Value& value, std::string_view name) {
  return value.if_dict() != nullptr &&
         std::find(std::begin(kDictMethods), std::end(kDictMethods), name) != std::end(kDictMethods);
}

}  // namespace deepserve::runner::jinja
