// The most KV blocks that a batch will hold at once before it has ended, if every sequence ends where it is
// expected to. Pure.
//
// All sequences grow by a token a step, so that the peak is where one ends: at the end of the k-th (the
// longest-lived first) the first k hold what they have now and as many tokens more as the k-th has still to
// come. (The future peak of Gong et al., "Past-Future Scheduler for LLM Serving under SLA Guarantees", 2025.)
#pragma once

#include <cstdint>
#include <span>

namespace deepserve::daemon {

struct KvHolder {
  uint32_t tokens = 0;     // that it holds, once its prompt is prefilled
  uint32_t remaining = 0;  // that it is expected to add
};

// Sorts `holders`. Every holder's last block counts as full.
uint64_t kv_blocks_peak(std::span<KvHolder> holders, uint32_t block_tokens);

}  // namespace deepserve::daemon
