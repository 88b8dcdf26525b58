#include "runner/grammar/automaton_writer.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

// What even a nondeterministic automaton may take.
constexpr size_t kWorkMax = 3 * kSubsetWorkMax;
constexpr uint32_t kEnd = 0;  // of a rule's states

}  // namespace

size_t AutomatonWriter::SubsetHash::operator()(const Subset& subset) const {
  uint64_t hash = subset.size();
  for (const uint32_t state : subset) {
    hash = (hash ^ state) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

Result<std::shared_ptr<const GrammarAutomaton>> AutomatonWriter::write(const Expressions& expressions,
                                                                       RuleId root) {
  const RuleAnalysis analysis(expressions, root);
  if (const auto rule = analysis.left_recursive()) {
    return fail(Code::kNotSupported, "the grammar's rule {} is left-recursive: it can begin with itself",
                expressions.rule(*rule).name);
  }
  if (!analysis.is_productive(*expressions.rule(root).expression))
    return fail(Code::kInvalidRequest, "no finite text can match the grammar");
  AutomatonWriter writer(expressions, analysis);
  writer.called_.push_back(root);
  writer.starts_[root] = 0;
  for (size_t i = 0; i < writer.called_.size(); ++i) TRY(writer.write_rule(writer.called_[i]));
  writer.link();
  return std::make_shared<const GrammarAutomaton>(std::move(writer.automaton_));
}

Result<void> AutomatonWriter::write_rule(RuleId rule) {
  TRY_ASSIGN(rule_, builder_.build(rule));
  const size_t states = rule_->first_edge.size();
  subsets_.clear();
  of_target_.assign(states, kNoState);
  pending_.clear();
  visited_.assign(states, 0);
  round_ = 0;
  rule_base_ = automaton_.states_.size();
  starts_[rule] = state_of({rule_->start});
  return write_states();
}

Result<void> AutomatonWriter::write_states() {
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Subset subset = std::move(pending_[i]);
    begin_state(subset);
    collect_edges(subset);
    write_edges();
    // Calls of one rule that go on at several places are one call that goes on at all of them.
    std::ranges::stable_sort(raw_calls_, {}, &RawCall::rule);
    for (size_t call = 0; call < raw_calls_.size() && work_ <= kWorkMax;) {
      const RuleId rule = raw_calls_[call].rule;
      if (starts_[rule] == kNoState) {
        starts_[rule] = 0;
        called_.push_back(rule);
      }
      Subset targets;
      do {
        targets.push_back(raw_calls_[call++].target);
      } while (call < raw_calls_.size() && raw_calls_[call].rule == rule && work_ <= kSubsetWorkMax);
      automaton_.calls_.push_back({0, state_of(targets)});
      called_rules_.push_back(rule);
    }
    if (work_ > kWorkMax || automaton_.edges_.size() + automaton_.calls_.size() > kAutomatonEdgesMax ||
        automaton_.states_.size() + pending_.size() > kAutomatonStatesMax + i) {
      return fail(Code::kNotSupported,
                  "the grammar is too large: its automaton takes more than {} states or {} edges",
                  kAutomatonStatesMax, kAutomatonEdgesMax);
    }
  }
  return {};
}

void AutomatonWriter::link() {
  auto& states = automaton_.states_;
  for (size_t i = 0; i < automaton_.calls_.size(); ++i)
    automaton_.calls_[i].start = starts_[called_rules_[i]];
  const size_t count = states.size();
  states.emplace_back();
  states.back().edges = static_cast<uint32_t>(automaton_.edges_.size());
  states.back().calls = static_cast<uint32_t>(automaton_.calls_.size());
  for (StateId state = 0; state < count; ++state) {
    const bool calls = !automaton_.calls(state).empty();
    states[state].plain = !calls && !states[state].accepts;
    states[state].only_ends = !calls && states[state].accepts && automaton_.edges(state).empty();
  }
}

void AutomatonWriter::begin_state(const Subset& subset) {
  GrammarAutomaton::State state;
  state.edges = static_cast<uint32_t>(automaton_.edges_.size());
  state.calls = static_cast<uint32_t>(automaton_.calls_.size());
  state.accepts = !subset.empty() && subset.front() == kEnd;
  automaton_.states_.push_back(state);
}

// The state for reading on from all of `targets`; a new one is written later.
StateId AutomatonWriter::state_of(Subset subset) {
  if (subset.size() == 1 && of_target_[subset.front()] != kNoState) return of_target_[subset.front()];
  const std::optional<uint32_t> single = subset.size() == 1 ? std::optional(subset.front()) : std::nullopt;
  close(subset);
  // Its number is where it will be written: those that are pending come one after the other.
  const auto written = static_cast<StateId>(rule_base_ + pending_.size());
  const auto [place, is_new] = subsets_.try_emplace(subset, written);
  if (is_new) pending_.push_back(std::move(subset));
  if (single) of_target_[*single] = place->second;
  return place->second;
}

// Replaces the states by those that are reached without reading anything and that read something or end.
void AutomatonWriter::close(Subset& subset) {
  ++round_;
  Subset open = std::move(subset);
  subset.clear();
  while (!open.empty()) {
    const uint32_t state = open.back();
    open.pop_back();
    if (visited_[state] == round_) continue;
    visited_[state] = round_;
    ++work_;
    bool reads = state == kEnd;
    for (uint32_t edge = rule_->first_edge[state]; edge != RuleStates::kNone;
         edge = rule_->edges[edge].next) {
      if (rule_->edges[edge].label == RuleStates::Label::kNothing) {
        open.push_back(rule_->edges[edge].target);
        ++work_;
      } else {
        reads = true;
      }
    }
    if (reads) subset.push_back(state);
  }
  std::ranges::sort(subset);
}

void AutomatonWriter::collect_edges(const Subset& subset) {
  raw_edges_.clear();
  raw_calls_.clear();
  for (const uint32_t state : subset) {
    for (uint32_t i = rule_->first_edge[state]; i != RuleStates::kNone; i = rule_->edges[i].next) {
      const RuleStates::Edge& edge = rule_->edges[i];
      if (edge.label == RuleStates::Label::kBytes) raw_edges_.push_back({edge.bytes, edge.target});
      if (edge.label == RuleStates::Label::kCall) raw_calls_.push_back({edge.rule, edge.target});
    }
  }
  work_ += subset.size();
}

void AutomatonWriter::write_edges() {
  std::ranges::sort(raw_edges_, {}, [](const RawEdge& edge) {
    return std::tuple(edge.bytes.first, edge.bytes.last, edge.target);
  });
  bool overlap = false;
  for (size_t i = 1; i < raw_edges_.size(); ++i)
    overlap = overlap || raw_edges_[i].bytes.first <= raw_edges_[i - 1].bytes.last;
  if (overlap && work_ <= kSubsetWorkMax) return write_overlapping_edges();
  for (size_t i = 0; i < raw_edges_.size() && work_ <= kWorkMax; ++i)
    write_edge(raw_edges_[i].bytes, state_of({raw_edges_[i].target}));
}

// Cuts the edges where one of them begins or ends: each piece goes to all that its bytes lead to.
void AutomatonWriter::write_overlapping_edges() {
  std::vector<uint32_t> cuts;
  for (const RawEdge& edge : raw_edges_) {
    cuts.push_back(edge.bytes.first);
    cuts.push_back(edge.bytes.last + 1u);
  }
  std::ranges::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  Subset targets;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    targets.clear();
    for (const RawEdge& edge : raw_edges_) {
      if (edge.bytes.first > cuts[i]) break;
      if (edge.bytes.last >= cuts[i]) targets.push_back(edge.target);
    }
    work_ += targets.size() + 1;
    if (targets.empty()) continue;
    std::ranges::sort(targets);
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    write_edge({static_cast<uint8_t>(cuts[i]), static_cast<uint8_t>(cuts[i + 1] - 1)}, state_of(targets));
  }
}

void AutomatonWriter::write_edge(ByteRange bytes, StateId target) {
  auto& edges = automaton_.edges_;
  const bool first_of_state = edges.size() == automaton_.states_.back().edges;
  if (!first_of_state && edges.back().target == target && edges.back().bytes.last + 1 == bytes.first) {
    edges.back().bytes.last = bytes.last;
    return;
  }
  edges.push_back({bytes, target});
}

}  // namespace deepserve::runner
