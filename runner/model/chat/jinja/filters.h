// Jinja's filters: `value | trim`, `tool | tojson(indent=4)`.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/arguments.h"

namespace deepserve::runner::jinja {

bool is_filter(std::string_view name);
// `name` is one that is_filter() knows. kInvalidRequest for values and arguments of the wrong type,
// kNotSupported for a use that is not built in, kInvalidRequest also where `budget` ends.
Result<Value> run_filter(const Value& value, std::string_view name, const Arguments& arguments,
                         Budget& budget);

}  // namespace deepserve::runner::jinja
