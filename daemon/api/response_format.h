// What the answer is bound to be: `response_format`, the `grammar` field, and vLLM's names for the same.
#pragma once

#include <string>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class Fields;

// The longest schema or grammar that is taken.
inline constexpr size_t kConstraintBytesMax = 256 * 1024;

// Reads into `constraint`, of these at most one:
//   response_format     {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "json_schema":
//                       {"name", "schema", "description", "strict"}}; strict or not, the schema holds
//   grammar             GBNF
//   structured_outputs  {"json": schema}, {"json_object": true}, {"grammar": GBNF} or {"choice": [strings]}
//   guided_json         a schema, as an object or as JSON in a string
//   guided_grammar      GBNF
//   guided_choice       a list of strings: the answer is one of them
// A schema crosses as the JSON that the client sent, its keys in their order. Regular expressions are
// refused. The field that set it goes to `param`; empty: none did.
void read_constraint(Fields& fields, ipc::Constraint& constraint, std::string& param);

}  // namespace deepserve::daemon
