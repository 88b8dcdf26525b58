// Jinja's tests: `value is defined`, `value is divisibleby(3)`.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/arguments.h"

namespace deepserve::runner::jinja {

bool is_value_test(std::string_view name);
// `name` is one that is_value_test() knows. kInvalidRequest for arguments of the wrong type.
Result<bool> run_value_test(const Value& value, std::string_view name, const Arguments& arguments,
                            Budget& budget);

}  // namespace deepserve::runner::jinja
