// Two schemas as one that is valid where both are, and what tells that two never are.
#pragma once

#include "runner/grammar/schema_keywords.h"

namespace deepserve::runner {

// Of the keywords that both have, the tighter one. kNotSupported names a keyword for which that is no single
// schema; kInvalidRequest when nothing can satisfy both. Neither may have $ref or allOf.
Result<json::object> merge_schemas(const json::object& a, const json::object& b, const SchemaPlace& place);

// No value is valid by both: they have no type in common, or no constant, or they are objects that require a
// property whose constants differ, or that the other one forbids. False when that cannot be told.
bool exclude_each_other(const json::object& a, const json::object& b);

}  // namespace deepserve::runner
