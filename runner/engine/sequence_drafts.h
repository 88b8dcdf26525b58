// The drafts of one sequence: where they come from, what was drafted last, and what became of it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runner/engine/speculation.h"

namespace deepserve::runner {

struct SequenceDrafts {
  DraftIndex index;
  DraftHistory history;
  uint32_t match_tokens = 0;  // of the match that `tokens` come from; 0: none
  uint32_t proposed = 0;      // of `tokens`; at least one when there is a match, run or not
  uint32_t checked = 0;       // of `tokens`: so many were followed by what the model said
  uint32_t count = 0;         // of `tokens`, at the end of the sequence's own while the step runs
  std::array<TokenId, DraftPlanner::kRowsMax> tokens{};

  // What the end of `sequence` proposes; the next learn() are of it.
  void propose(const std::vector<TokenId>& sequence) {
    const DraftMatch match = index.match();
    match_tokens = match.tokens;
    checked = 0;
    proposed = match.tokens == 0 ? 0 : static_cast<uint32_t>(tokens.size());
    for (uint32_t i = 0; i < proposed; ++i) tokens[i] = DraftIndex::draft_token(sequence, match, i);
  }
  // The next token is `token`, whatever was drafted.
  void learn(TokenId token) {
    if (checked >= proposed) return;
    const bool hit = tokens[checked++] == token;
    history.add(match_tokens, hit);
    if (!hit) proposed = checked;
  }
  // The first `drafted` proposed tokens run behind those of `sequence`.
  void append(std::vector<TokenId>& sequence, uint32_t drafted) {
    sequence.insert(sequence.end(), tokens.begin(), tokens.begin() + drafted);
    count = drafted;
  }
  // The step is over. Returns how many of them ran.
  uint32_t take_back(std::vector<TokenId>& sequence) {
    const uint32_t drafted = count;
    sequence.resize(sequence.size() - drafted);
    count = 0;
    return drafted;
  }
};

}  // namespace deepserve::runner
