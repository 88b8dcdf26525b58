// What can be had of a value: `value.name`, `value[key]`, its items, its methods.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/arguments.h"
#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

// namespace(): the one thing that `set` may change from within a loop.
struct Namespace {
  std::map<std::string, Value, std::less<>> variables;
};

// `loop`, inside of a for loop.
struct Loop {
  std::vector<Value> items;
  size_t at = 0;
};

// As Jinja does it: an attribute of a dictionary is its method of that name, else its entry; of what is not
// there, undefined. kInvalidRequest when `value` itself is undefined.
Result<Value> attribute_of(const Value& value, std::string_view name);
Result<Value> item_of(const Value& value, const Value& key);

// The items of a list, the keys of a dictionary, the characters of a text; none of what is undefined.
// kInvalidRequest for anything else, and here and below where `budget` ends.
Result<std::vector<Value>> items_of(const Value& value, Budget& budget);
// Their number: len(). kInvalidRequest for what has none.
Result<int64_t> length_of(const Value& value);
// Python's `item in value`.
Result<bool> contains(const Value& value, const Value& item);
// value[begin:end:step]; undefined or none where nothing stands.
Result<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step,
                       Budget& budget);

bool has_method(const Value& value, std::string_view name);
// kNotSupported for a method that is not built in.
Result<Value> call_method(const Value& value, std::string_view name, const Arguments& arguments,
                          Budget& budget);

Result<Value> list_value(std::vector<Value> items, Budget& budget);
Result<Value> tuple_value(std::vector<Value> items, Budget& budget);
Result<Value> list_of_texts(std::vector<MarkedText> texts, Budget& budget);

}  // namespace deepserve::runner::jinja
