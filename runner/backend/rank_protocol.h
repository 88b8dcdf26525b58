// What rank 0 tells the other ranks of its group: the steps to compute and the blocks to copy, in order. They
// compute the same and answer nothing: what they give goes through the sums and gatherings of the forward
// pass.
//
// A command is four words and, for a step, a body of words. Who reads trusts nothing: what is out of the
// backend's bounds ends in kBadLane.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/collective/collective.h"

namespace deepserve::runner {

enum class RankCommand : uint32_t {
  kStep = 1,   // entries, tokens, blocks: how many of each the body holds
  kCopyBlock,  // from, to
  kEnd,        // rank 0 ends; so do the others
};

using CommandWords = std::array<uint32_t, 4>;

// Of rank 0. `body` is kept by the caller for its memory.
Result<void> send_step(Collective& collective, std::span<const BatchEntry> batch,
                       std::vector<uint32_t>& body);
Result<void> send_copy(Collective& collective, BlockId from, BlockId to);
Result<void> send_end(Collective& collective);

// Of the others: waits for the next command as long as rank 0 lives.
Result<CommandWords> receive_command(Collective& collective);
// The body of a kStep: entries that want logits but no hidden states, whose spans lie in `body`.
Result<void> receive_step(Collective& collective, const CommandWords& command, const BackendInfo& info,
                          std::vector<uint32_t>& body, std::vector<BatchEntry>& batch);

// The entries that `body` describes, checked.
Result<void> read_step(const CommandWords& command, std::span<const uint32_t> body, const BackendInfo& info,
                       std::vector<BatchEntry>& batch);
// The other way round; the command's words.
CommandWords write_step(std::span<const BatchEntry> batch, std::vector<uint32_t>& body);

// Called by all ranks once each has loaded the model: they must have made the same of it (numbers of blocks,
// limits, numerics_id). kBadLane, on all of them, names what differs. Waits for the slowest as long as it
// lives.
Result<void> agree(Collective& collective, const BackendInfo& info);

}  // namespace deepserve::runner
