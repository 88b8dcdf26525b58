// A grammar as a machine over bytes: states, edges that read a byte, and calls, which go through another
// rule's states and come back. A stack of the states to come back to makes it a pushdown automaton.
//
// Every state can reach the end of its rule, so that text which was read so far can always be completed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/grammar/code_points.h"

namespace deepserve::runner {

using StateId = uint32_t;

class GrammarAutomaton {
 public:
  struct Edge {
    ByteRange bytes;
    StateId target;
  };
  struct Call {
    StateId start;   // of the rule that is called
    StateId target;  // where it goes on afterwards
  };

  StateId start() const { return start_; }
  size_t states() const { return states_.size() - 1; }
  std::span<const Edge> edges(StateId state) const {
    return {edges_.data() + states_[state].edges, edges_.data() + states_[state + 1].edges};
  }
  std::span<const Call> calls(StateId state) const {
    return {calls_.data() + states_[state].calls, calls_.data() + states_[state + 1].calls};
  }
  // True where a rule may end.
  bool accepts(StateId state) const { return states_[state].accepts; }
  // Nothing but a byte goes on from here.
  bool is_plain(StateId state) const { return states_[state].plain; }
  // The rule ends here, and nothing goes on: a call that would come back here need not be remembered.
  bool only_ends(StateId state) const { return states_[state].only_ends; }

  size_t bytes() const {
    return states_.size() * sizeof(State) + edges_.size() * sizeof(Edge) + calls_.size() * sizeof(Call);
  }

 private:
  friend class AutomatonWriter;

  struct State {
    uint32_t edges = 0;  // where its own begin; the next state's are their end
    uint32_t calls = 0;
    bool accepts = false;
    bool plain = false;
    bool only_ends = false;
  };

  std::vector<State> states_;  // and one more, for the ends of the last one's edges
  std::vector<Edge> edges_;    // of one state in the order of their bytes
  std::vector<Call> calls_;
  StateId start_ = 0;
};

}  // namespace deepserve::runner
