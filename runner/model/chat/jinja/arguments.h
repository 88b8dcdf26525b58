// What a filter, a test, a method or a macro is called with.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at `index`, or the one called `name`; null when there is neither.
  const Value* find(size_t index, std::string_view name) const {
    if (index < positional.size()) return &positional[index];
    for (const auto& [key, value] : named) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

}  // namespace deepserve::runner::jinja
