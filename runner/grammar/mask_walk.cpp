#include "runner/grammar/mask_walk.h"

#include "runner/grammar/free_characters.h"

namespace deepserve::runner {
namespace {

tl::unexpected<Error> too_ambiguous() {
  return fail(Code::kNotSupported,
              "the grammar is too ambiguous: more than {} ways to read the answer so far, or {} steps to "
              "find the tokens that may follow, or {} of them that end a rule",
              kConfigurationsMax, kMaskStepsMax, kMaskExitsMax);
}

}  // namespace

Result<void> MaskWalk::spend(const ConfigurationReader& reader) {
  if (reader.overflowed()) return too_ambiguous();
  return spend(reader.steps());
}

Result<void> MaskWalk::spend(uint64_t steps) {
  if (steps > steps_left_) return too_ambiguous();
  steps_left_ -= steps;
  return {};
}

Result<std::shared_ptr<const StateMask>> MaskWalk::mask_of(StateId state) {
  auto mask = std::make_shared<StateMask>();
  mask->allowed.resize(trie_.mask_words());
  StackPool stacks;  // its bottom stands for a caller that is not known
  const uint32_t free = free_characters(automaton_, state);
  for (const TokenVocabularyTrie::Tree& tree : trie_.trees()) {
    if (tree.characters_max > 0 && tree.characters_max <= free) {
      for (size_t word = 0; word < tree.tokens.size(); ++word) mask->allowed[word] |= tree.tokens[word];
      continue;
    }
    list_.assign(1, {state, StackPool::kBottom});
    TRY(walk(tree.root, stacks, mask->allowed, &mask->exits));
  }
  return mask;
}

Result<void> MaskWalk::add_branch(Node node, std::span<const Configuration> beginning, StackPool& stacks,
                                  std::span<uint64_t> mask) {
  TRY(spend(1 + beginning.size()));
  list_.assign(beginning.begin(), beginning.end());
  const size_t stacks_before = stacks.size();
  auto walked = walk(node, stacks, mask, nullptr);
  stacks.shrink(stacks_before);
  return walked;
}

void MaskWalk::allow_tokens_of(Node node, std::span<uint64_t> mask) const {
  for (TokenId token = trie_.token(node); token != TokenVocabularyTrie::kNoToken;
       token = trie_.next_token(token)) {
    set_token(mask, token);
  }
}

bool MaskWalk::read_plainly(uint8_t byte, Level level) {
  if (level.end - level.begin != 1) return false;
  const Configuration before = list_[level.begin];
  const GrammarAutomaton::Edge* only = nullptr;
  for (const GrammarAutomaton::Edge& edge : automaton_.edges(before.state)) {
    ++plain_steps_;
    if (edge.bytes.first > byte) break;
    if (edge.bytes.last < byte) continue;
    if (only != nullptr || !automaton_.is_plain(edge.target)) return false;
    only = &edge;
  }
  if (only != nullptr) list_.push_back({only->target, before.stack});
  return true;
}

// list_ holds the set to begin with.
Result<void> MaskWalk::walk(Node node, StackPool& stacks, std::span<uint64_t> mask,
                            std::vector<Node>* exits) {
  ConfigurationReader reader(automaton_, stacks);
  plain_steps_ = 0;
  levels_.assign(1, {0, static_cast<uint32_t>(list_.size())});
  const uint16_t depth_of_node = trie_.depth(node);
  const Node end = trie_.end(node);
  for (Node at = node + 1; at < end;) {
    const size_t depth = trie_.depth(at) - depth_of_node;
    const Level level = levels_[depth - 1];
    list_.resize(level.end);
    reader.forget_bottom();
    if (!read_plainly(trie_.byte(at), level)) reader.read(trie_.byte(at), level.begin, level.end, list_);
    if (reader.overflowed() || reader.steps() + plain_steps_ > steps_left_) return too_ambiguous();
    const bool goes_on = list_.size() > level.end;
    if (goes_on || reader.reached_bottom()) allow_tokens_of(at, mask);
    if (reader.reached_bottom() && exits != nullptr && trie_.has_children(at)) {
      if (exits->size() == kMaskExitsMax) return too_ambiguous();
      exits->push_back(at);
    }
    if (!goes_on) {
      at = trie_.end(at);
      continue;
    }
    levels_.resize(depth);
    levels_.push_back({level.end, static_cast<uint32_t>(list_.size())});
    ++at;
  }
  return spend(reader.steps() + plain_steps_);
}

}  // namespace deepserve::runner
