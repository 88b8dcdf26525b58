#include "runner/grammar/matcher.h"

#include <algorithm>

#include "runner/grammar/limits.h"

namespace deepserve::runner {

TokenGrammar::TokenGrammar(Grammar grammar, const TokenVocabularyTrie& trie, MaskCache& cache)
    : grammar_(std::move(grammar)),
      trie_(trie),
      cache_(cache),
      walk_(grammar_.automaton(), trie),
      id_(cache.new_grammar()),
      scratch_(trie.mask_words()) {}

Result<std::shared_ptr<const StateMask>> TokenGrammar::mask_of(StateId state) {
  if (auto kept = cache_.find(id_, state)) return kept;
  TRY_ASSIGN(auto mask, walk_.mask_of(state));
  cache_.add(id_, state, mask);
  return mask;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<TokenGrammar> grammar, std::vector<TokenId> ends)
    : grammar_(std::move(grammar)), ends_(std::move(ends)) {
  if (grammar_->has_free_keys()) keys_.emplace();
  ConfigurationReader reader(grammar_->automaton(), stacks_);
  reader.add({grammar_->automaton().start(), StackPool::kBottom}, 0, now_);
  complete_ = reader.reached_bottom();
  settle();
}

// Keeps what can read another byte.
void GrammarMatcher::settle() {
  std::erase_if(now_, [this](const Configuration& configuration) {
    return grammar_->automaton().edges(configuration.state).empty();
  });
  goes_on_ = !now_.empty();
}

bool GrammarMatcher::is_end(TokenId token) const {
  return std::ranges::find(ends_, token) != ends_.end();
}

bool GrammarMatcher::accept(TokenId token) {
  if (is_end(token)) {
    if (!complete_) return false;
    now_.clear();
    goes_on_ = false;
    return true;
  }
  const std::string_view bytes = grammar_->trie().token_bytes(token);
  if (bytes.empty()) return false;
  ConfigurationReader reader(grammar_->automaton(), stacks_);
  std::vector<Configuration> list = now_;
  size_t begin = 0;
  for (const char byte : bytes) {
    const size_t end = list.size();
    reader.forget_bottom();
    reader.read(static_cast<uint8_t>(byte), begin, end, list);
    if (list.size() == end && !reader.reached_bottom()) return false;
    begin = end;
  }
  if (reader.overflowed()) return false;
  if (keys_ && !keys_->read(bytes)) return false;
  now_.assign(list.begin() + static_cast<ptrdiff_t>(begin), list.end());
  complete_ = reader.reached_bottom();
  settle();
  return true;
}

Result<std::span<const uint64_t>> GrammarMatcher::allowed() {
  grammar_->walk().begin_mask();
  const bool ends_here = complete_ && !ends_.empty();
  const auto has_text = [this](TokenId token) { return !grammar_->trie().token_bytes(token).empty(); };
  if (now_.size() == 1 && !ends_here && !keys_ && std::ranges::none_of(ends_, has_text)) {
    TRY_ASSIGN(looked_at_, grammar_->mask_of(now_.front().state));
    if (looked_at_->exits.empty()) return checked(looked_at_->allowed);
  }
  TokenMask& mask = grammar_->scratch();
  std::ranges::fill(mask, 0);
  for (const Configuration& configuration : now_) {
    TRY_ASSIGN(const auto state_mask, grammar_->mask_of(configuration.state));
    for (size_t word = 0; word < mask.size(); ++word) mask[word] |= state_mask->allowed[word];
    TRY(add_exits(configuration, *state_mask, mask));
  }
  if (keys_) keys_->restrict(grammar_->trie(), mask);
  for (const TokenId end : ends_) {
    if (end >= grammar_->trie().vocabulary()) continue;
    if (complete_) set_token(mask, end);
    if (!complete_) clear_token(mask, end);
  }
  return checked(mask);
}

Result<void> GrammarMatcher::add_exits(const Configuration& from, const StateMask& mask,
                                       std::span<uint64_t> allowed) {
  if (mask.exits.empty() || from.stack == StackPool::kBottom) return {};
  const size_t stacks_before = stacks_.size();
  std::vector<Configuration> beginning;
  ConfigurationReader reader(grammar_->automaton(), stacks_);
  reader.add({stacks_[from.stack].back, stacks_[from.stack].below}, 0, beginning);
  std::erase_if(beginning, [this](const Configuration& configuration) {
    return grammar_->automaton().edges(configuration.state).empty();
  });
  Result<void> added = grammar_->walk().spend(reader);
  for (const auto node : mask.exits) {
    if (!added) break;
    added = grammar_->walk().add_branch(node, beginning, stacks_, allowed);
  }
  stacks_.shrink(stacks_before);
  return added;
}

Result<std::span<const uint64_t>> GrammarMatcher::checked(std::span<const uint64_t> mask) const {
  if (std::ranges::any_of(mask, [](uint64_t word) { return word != 0; })) return mask;
  return fail(Code::kInvalidRequest,
              "no token of the model's vocabulary can continue the answer as the grammar demands");
}

}  // namespace deepserve::runner
