#include "daemon/admission/kv_forecast.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {

uint64_t kv_blocks_peak(std::span<KvHolder> holders, uint32_t block_tokens) {
  CHECK(block_tokens > 0);
  std::sort(holders.begin(), holders.end(),
            [](const KvHolder& a, const KvHolder& b) { return a.remaining > b.remaining; });
  uint64_t peak_tokens = 0;
  uint64_t held_tokens = 0;
  for (size_t i = 0; i < holders.size(); ++i) {
    held_tokens += uint64_t{holders[i].tokens} + block_tokens - 1;
    peak_tokens = std::max(peak_tokens, held_tokens + uint64_t{holders[i].remaining} * (i + 1));
  }
  return peak_tokens / block_tokens;
}

}  // namespace deepserve::daemon
