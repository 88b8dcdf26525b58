// Times steps of a backend as an engine makes them, without an engine: one prompt's prefill, and decodes of
// several sequences at once.
#pragma once

#include <cstdint>
#include <vector>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"

namespace deepserve::runner {

// What several repeats of the same work took, one entry each.
using Durations_ns = std::vector<uint64_t>;

class StepTimer {
 public:
  // `backend` must outlive the timer, which uses all its KV blocks as its own.
  explicit StepTimer(Backend& backend);

  // One prompt of `tokens` from its beginning in one step, with the logits of its last token, or the
  // likeliest next one where the backend draws by itself. kInvalidRequest when the backend takes no such
  // step, with what it takes.
  Result<Durations_ns> prefill(uint32_t tokens, uint32_t repeats);

  // `steps` steps of `count` sequences, a token each with what it gives, after `context` tokens that are in
  // the cache. kInvalidRequest as above.
  Result<Durations_ns> decode(uint32_t count, uint32_t context, uint32_t steps, uint32_t repeats);

 private:
  Result<void> check_room(uint32_t sequences, uint32_t sequence_tokens, uint32_t step_tokens) const;
  Result<void> fill_context(uint32_t count, uint32_t context, uint32_t sequence_blocks);
  Result<uint64_t> run(uint32_t count, uint32_t tokens, uint32_t position, uint32_t sequence_blocks);

  Backend& backend_;
  std::vector<TokenId> tokens_;
  std::vector<BlockId> blocks_;
  std::vector<BatchEntry> entries_;
  std::vector<float> logits_;
  ipc::Generation greedy_;
  std::vector<RowDraw> draws_;
  std::vector<DrawnRow> drawn_rows_;
  std::vector<DrawnToken> drawn_tokens_;
};

}  // namespace deepserve::runner
