#include "daemon/supervise/progress_watch.h"

namespace deepserve::daemon {

ProgressWatch::Verdict ProgressWatch::tick(uint64_t now_ns, Phase phase, const ipc::Progress& progress) {
  Verdict verdict;
  verdict.stepped = progress.steps != last_.steps;
  // Warming up makes steps but loads nothing, loading the other way round: while loading either counts.
  verdict.moved = verdict.stepped || phase != phase_ ||
                  (phase == Phase::kLoading && progress.bytes_loaded != last_.bytes_loaded);
  const uint64_t elapsed_ns = last_tick_ns_ == 0 ? 0 : now_ns - last_tick_ns_;
  if (verdict.moved) {
    stood_still_ns_ = 0;
  } else if (elapsed_ns <= 2 * tick_ns_) {
    stood_still_ns_ += elapsed_ns;
  }
  last_ = progress;
  phase_ = phase;
  last_tick_ns_ = now_ns;
  verdict.hung = stood_still_ns_ >= (phase == Phase::kLoading ? load_hang_after_ns_ : hang_after_ns_);
  return verdict;
}

}  // namespace deepserve::daemon
