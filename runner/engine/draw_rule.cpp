#include "runner/engine/draw_rule.h"

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

// Whether `allowed` has a token beside `masked` and `masked_too`; an empty `allowed` has.
bool allows_more(std::span<const uint64_t> allowed, std::span<const TokenId> masked,
                 std::span<const TokenId> masked_too) {
  constexpr size_t kBits = 64;
  if (allowed.empty()) return true;
  for (size_t word = 0; word < allowed.size(); ++word) {
    uint64_t left = allowed[word];
    for (const auto tokens : {masked, masked_too}) {
      for (const TokenId token : tokens) {
        if (token / kBits == word) left &= ~(uint64_t{1} << token % kBits);
      }
    }
    if (left != 0) return true;
  }
  return false;
}

}  // namespace

Result<Draw> DrawRule::draw_of(Sequence& sequence, uint32_t ahead) const {
  CHECK(ahead == 0 || (!sequence.matcher && !sequence.counts.active()));
  const auto& generation = sequence.request->generation;
  TRY_ASSIGN(const auto allowed, sequence.allowed());
  Draw draw{.generation = generation,
            .counts = sequence.counts,
            .choice = sequence.priority.choice,
            .index = sequence.continuation.tokens() + ahead,
            .masked = {},
            .masked_too = {},
            .allowed = allowed};
  if (draw.index < generation.tokens_min) {  // it must not end the answer
    const std::span<const TokenId> stop_tokens = generation.stop_tokens;
    std::span<const TokenId> end_tokens;
    if (!generation.ignore_eos) end_tokens = end_tokens_;
    // A constraint that is fulfilled allows nothing but the end: it has the last word over tokens_min.
    if (allows_more(draw.allowed, stop_tokens, end_tokens)) {
      draw.masked = stop_tokens;
      draw.masked_too = end_tokens;
    }
  }
  return draw;
}

}  // namespace deepserve::runner
