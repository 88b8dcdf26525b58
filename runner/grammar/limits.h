// The bounds of what a grammar may ask for. A request that breaks one is refused by name; none of them is
// near what grammars written by people need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::runner {

// Of a source, GBNF or JSON schema.
inline constexpr size_t kGrammarBytesMax = size_t{256} << 10;
inline constexpr uint32_t kGrammarRulesMax = 4096;
// Of groups in GBNF and in patterns, and of a schema's JSON.
inline constexpr uint32_t kGrammarDepthMax = 64;
// Of {m,n}, maxLength, maxItems and the like.
inline constexpr uint32_t kRepetitionMax = 65'536;
// Nodes of the expressions that a source is read into.
inline constexpr size_t kExpressionsMax = 200'000;
// While compiling: states and edges before and after they are made deterministic.
inline constexpr size_t kAutomatonStatesMax = 60'000;
inline constexpr size_t kAutomatonEdgesMax = 200'000;
// Work of making one grammar deterministic, in states looked at: beyond it, the rest stays as it is.
inline constexpr size_t kSubsetWorkMax = 100'000;

// While following: ways to read the answer so far.
inline constexpr size_t kConfigurationsMax = 256;
// Steps over the vocabulary's tree for one mask, of all ways to read the answer so far together: about 10
// milliseconds. Masks that are kept from before cost none.
inline constexpr uint64_t kMaskStepsMax = 4'000'000;
// Nodes of the tree at which the rule of one state may have ended.
inline constexpr size_t kMaskExitsMax = 262'144;
// Memory for the masks that are kept, of all grammars of a runner.
inline constexpr size_t kMaskCacheBytesMax = size_t{64} << 20;
// Compiled grammars that are kept for the next request.
inline constexpr size_t kGrammarsKept = 64;

}  // namespace deepserve::runner
