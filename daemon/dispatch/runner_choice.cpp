#include "daemon/dispatch/runner_choice.h"

namespace deepserve::daemon {
namespace {

bool fits(const RunnerLoad& runner, uint32_t sequences) {
  if (!runner.ready || runner.outbox_full) return false;
  return runner.sequences == 0 || uint64_t{runner.sequences} + sequences <= runner.sequences_max;
}

bool has_more_room(const RunnerLoad& a, const RunnerLoad& b) {
  const uint64_t a_taken = uint64_t{a.sequences} * b.sequences_max;
  const uint64_t b_taken = uint64_t{b.sequences} * a.sequences_max;
  if (a_taken != b_taken) return a_taken < b_taken;
  return a.kv_blocks_free > b.kv_blocks_free;
}

}  // namespace

std::optional<size_t> choose_runner(std::span<const RunnerLoad> runners, uint32_t sequences) {
  std::optional<size_t> best;
  for (size_t i = 0; i < runners.size(); ++i) {
    if (!fits(runners[i], sequences)) continue;
    if (!best || has_more_room(runners[i], runners[*best])) best = i;
  }
  return best;
}

}  // namespace deepserve::daemon
