// Python's operators on values.
#pragma once

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/syntax_tree.h"
#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

// kAdd to kModulo, and kConcatenate. kInvalidRequest for values that do not go together, for division by
// zero, for integers beyond 64 bits and where `budget` ends.
Result<Value> combine(Operator operation, const Value& left, const Value& right, Budget& budget);
// Takes what comparing the two, or looking for `left` in `right`, may cost.
Result<void> charge_comparison(const Value& left, const Value& right, Budget& budget);
// kEqual to kNotIn.
Result<bool> compare(Operator operation, const Value& left, const Value& right);
// kNegate, and kAdd as a sign.
Result<Value> with_sign(Operator operation, const Value& value);

}  // namespace deepserve::runner::jinja
