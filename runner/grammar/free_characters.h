// Where a grammar takes whatever characters come: inside of JSON strings most of all, where most tokens of a
// vocabulary are allowed at once and need no walk.
#pragma once

#include <cstdint>
#include <string_view>

#include "runner/grammar/automaton.h"

namespace deepserve::runner {

inline constexpr uint32_t kFreeCharactersMax = 32;

// How many of the characters that a JSON string holds without escapes (all but ", \ and below U+0020) may
// follow `state`, whichever they are, without leaving its rule or coming to where it may end; counted up to
// kFreeCharactersMax.
uint32_t free_characters(const GrammarAutomaton& automaton, StateId state);

// The characters of `text` if it is whole characters of that kind; 0 if it is not.
uint32_t plain_characters(std::string_view text);

}  // namespace deepserve::runner
