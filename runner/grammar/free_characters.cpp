#include "runner/grammar/free_characters.h"

#include <optional>
#include <vector>

#include "ipc/base/utf8.h"

namespace deepserve::runner {
namespace {

const std::vector<ByteSequence>& spellings() {
  static const std::vector<ByteSequence> all = [] {
    std::vector<ByteSequence> sequences;
    const CodePointSet set{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kCodePointMax}};
    for (const CodePointRange range : set.ranges()) {
      for (const ByteSequence& sequence : utf8_sequences(range)) sequences.push_back(sequence);
    }
    return sequences;
  }();
  return all;
}

bool has_overlaps(std::span<const GrammarAutomaton::Edge> edges) {
  for (size_t i = 1; i < edges.size(); ++i) {
    if (edges[i].bytes.first <= edges[i - 1].bytes.last) return true;
  }
  return false;
}

// True when all spellings of `sequence` from its byte `index` on lead from `from` to one and the same state,
// which is `target` if that is known already.
bool leads_to(const GrammarAutomaton& automaton, StateId from, const ByteSequence& sequence, uint8_t index,
              std::optional<StateId>& target) {
  const auto edges = automaton.edges(from);
  if (has_overlaps(edges)) return false;
  uint32_t next = sequence.bytes[index].first;
  const uint32_t last = sequence.bytes[index].last;
  for (const GrammarAutomaton::Edge& edge : edges) {
    if (next > last) break;
    if (edge.bytes.last < next) continue;
    if (edge.bytes.first > next || !automaton.is_plain(edge.target)) return false;
    if (index + 1 < sequence.size) {
      if (!leads_to(automaton, edge.target, sequence, index + 1, target)) return false;
    } else {
      if (target && *target != edge.target) return false;
      target = edge.target;
    }
    next = edge.bytes.last + 1u;
  }
  return next > last;
}

// Where any such character leads, if that is one state.
std::optional<StateId> after_any_character(const GrammarAutomaton& automaton, StateId state) {
  std::optional<StateId> target;
  for (const ByteSequence& sequence : spellings()) {
    if (!leads_to(automaton, state, sequence, 0, target)) return std::nullopt;
  }
  return target;
}

}  // namespace

uint32_t free_characters(const GrammarAutomaton& automaton, StateId state) {
  for (uint32_t count = 0; count < kFreeCharactersMax; ++count) {
    const auto next = after_any_character(automaton, state);
    if (!next) return count;
    if (*next == state) break;
    state = *next;
  }
  return kFreeCharactersMax;
}

uint32_t plain_characters(std::string_view text) {
  uint32_t count = 0;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    const auto byte = static_cast<unsigned char>(text.front());
    if (step.kind != Utf8Kind::kCharacter || byte < 0x20 || byte == '"' || byte == '\\') return 0;
    text.remove_prefix(step.bytes);
    ++count;
  }
  return count;
}

}  // namespace deepserve::runner
