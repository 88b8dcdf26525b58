#include "runner/grammar/configurations.h"

#include "runner/grammar/limits.h"

namespace deepserve::runner {

void ConfigurationReader::add_one(Configuration configuration, size_t begin,
                                  std::vector<Configuration>& list) {
  steps_ += list.size() - begin + 1;
  for (size_t i = begin; i < list.size(); ++i) {
    if (list[i] == configuration) return;
  }
  if (list.size() - begin >= kConfigurationsMax) {
    overflowed_ = true;
    return;
  }
  list.push_back(configuration);
}

void ConfigurationReader::add(Configuration configuration, size_t begin, std::vector<Configuration>& list) {
  size_t next = list.size();
  add_one(configuration, begin, list);
  for (; next < list.size(); ++next) {
    const Configuration from = list[next];
    if (automaton_.is_plain(from.state)) continue;
    if (automaton_.accepts(from.state)) {
      if (from.stack == StackPool::kBottom) {
        reached_bottom_ = true;
      } else {
        add_one({stacks_[from.stack].back, stacks_[from.stack].below}, begin, list);
      }
    }
    for (const GrammarAutomaton::Call& call : automaton_.calls(from.state)) {
      // A call that is the last thing of its rule comes back to where that rule does.
      const bool is_last = automaton_.only_ends(call.target);
      add_one({call.start, is_last ? from.stack : stacks_.push(call.target, from.stack)}, begin, list);
    }
  }
}

void ConfigurationReader::read(uint8_t byte, size_t from, size_t to, std::vector<Configuration>& list) {
  const size_t begin = list.size();
  for (size_t i = from; i < to; ++i) {
    const Configuration before = list[i];
    for (const GrammarAutomaton::Edge& edge : automaton_.edges(before.state)) {
      ++steps_;
      if (edge.bytes.first > byte) break;
      if (edge.bytes.last >= byte) add({edge.target, before.stack}, begin, list);
    }
  }
}

}  // namespace deepserve::runner
