// The ways in which an automaton can have read a text: pairs of a state and a stack. One for most grammars at
// most places, more where a grammar is ambiguous up to there.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/grammar/automaton.h"
#include "runner/grammar/stack_pool.h"

namespace deepserve::runner {

struct Configuration {
  StateId state;
  StackId stack;
  bool operator==(const Configuration&) const = default;
};

// Reads bytes. Sets of configurations are the ends of one growing list, so that a walk over many texts goes
// back to where two of them part by cutting the list.
class ConfigurationReader {
 public:
  // Both must outlive the reader.
  ConfigurationReader(const GrammarAutomaton& automaton, StackPool& stacks)
      : automaton_(automaton), stacks_(stacks) {}

  // Adds `configuration` and what follows from it without reading to the set that is list[begin, end), unless
  // it is there.
  void add(Configuration configuration, size_t begin, std::vector<Configuration>& list);
  // Appends the set that list[from, to) becomes by reading `byte`; it begins where the list ended.
  void read(uint8_t byte, size_t from, size_t to, std::vector<Configuration>& list);

  // Since the last reset(): a rule ended at the bottom of its stack, and a set grew beyond
  // kConfigurationsMax (what is beyond was left out).
  bool reached_bottom() const { return reached_bottom_; }
  bool overflowed() const { return overflowed_; }
  void reset() { reached_bottom_ = overflowed_ = false; }
  void forget_bottom() { reached_bottom_ = false; }
  uint64_t steps() const { return steps_; }  // what all that has cost

 private:
  void add_one(Configuration configuration, size_t begin, std::vector<Configuration>& list);

  const GrammarAutomaton& automaton_;
  StackPool& stacks_;
  uint64_t steps_ = 0;
  bool reached_bottom_ = false;
  bool overflowed_ = false;
};

}  // namespace deepserve::runner
