// Compiles a JSON schema (2020-12) into expressions that only texts match which are valid by it.
//
// Honoured: type (also a list), enum, const, nullable (OpenAPI's: null may come as well); properties,
// required, additionalProperties; items, prefixItems, minItems, maxItems; minLength, maxLength (characters),
// pattern (pattern.h), format (date, time, date-time, uuid, ipv4, email, hostname); minimum, maximum,
// exclusiveMinimum, exclusiveMaximum; anyOf; oneOf whose branches exclude each other by type or by a
// constant; allOf where the parts can be merged; $ref within the document, also recursive. Annotations
// (title, description, default, x-...) say nothing about texts. Everything else is refused by name and place,
// unknown words, too: a schema that is only half followed looks followed.
//
// As OpenAI's strict mode, answers have properties in the order of the schema, those that are not required
// may be left out. Without `type` the keywords tell it: with properties it is an object, with items an array,
// and so on. Without additionalProperties an object has those that are named, or any if none is.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/grammar/expressions.h"

namespace deepserve::runner {

struct SchemaRoot {
  RuleId rule = 0;
  bool has_free_keys = false;  // see Grammar::has_free_keys()
};

// kInvalidRequest and kNotSupported name the JSON pointer of the keyword at fault.
Result<SchemaRoot> parse_json_schema(std::string_view schema, Expressions& expressions);

}  // namespace deepserve::runner
