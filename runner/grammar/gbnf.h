// Reads GBNF, the grammar notation of llama.cpp (its grammars/README.md), into expressions.
//
// Beyond what is written there: a line may begin with the | that goes on with the rule before it. A name is
// defined once. Tokens in angle brackets are refused: a grammar here says bytes, whatever the vocabulary.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/grammar/expressions.h"

namespace deepserve::runner {

// The rule `root`. Every rule that is referred to is defined. kInvalidRequest and kNotSupported name line and
// column.
Result<RuleId> parse_gbnf(std::string_view source, Expressions& expressions);

}  // namespace deepserve::runner
