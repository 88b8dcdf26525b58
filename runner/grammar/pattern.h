// Regular expressions (ECMA-262) of a schema's `pattern`, as expressions over the characters of a JSON
// string.
//
// As the specification has it, a pattern matches anywhere in the string unless ^ and $ say otherwise; these
// are followed at the ends of the pattern and of its outermost alternatives. Where engines disagree on what a
// class holds beyond ASCII (\d \w \s and their complements), only what all agree on is produced.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/grammar/json_text.h"

namespace deepserve::runner {

// What stands between the quotes. kNotSupported names what no automaton can follow (look-around,
// back-references, \b) or what is left out (\p, flags, anchors elsewhere), kInvalidRequest what is no
// pattern; both with the offset in bytes.
Result<ExpressionId> parse_pattern(std::string_view pattern, Expressions& expressions, JsonText& text);

}  // namespace deepserve::runner
