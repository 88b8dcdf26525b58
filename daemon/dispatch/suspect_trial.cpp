#include "daemon/dispatch/suspect_trial.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {

void SuspectTrial::wait(ipc::RequestId request, uint64_t now_ns) {
  leave(request);
  if (waiting_.empty()) since_ns_ = now_ns;
  waiting_.insert(request);
}

void SuspectTrial::begin(ipc::RequestId request, uint32_t runner) {
  CHECK(!on_trial_ && court_ == runner && waiting_.erase(request) == 1);
  on_trial_ = request;
}

void SuspectTrial::clear(ipc::RequestId request) {
  if (on_trial_ != request) return;  // its court takes nobody any more
  on_trial_.reset();
  cleared_.insert(request);
}

void SuspectTrial::leave(ipc::RequestId request) {
  if (on_trial_ == request) on_trial_.reset();
  waiting_.erase(request);
  cleared_.erase(request);
}

void SuspectTrial::runner_down(uint32_t runner) {
  if (court_ != runner) return;
  court_.reset();
  cleared_.clear();
  on_trial_.reset();  // it comes to wait again
}

void SuspectTrial::convene(std::span<const Candidate> candidates, uint64_t now_ns) {
  if (!is_on()) {
    court_.reset();
    cleared_.clear();
    return;
  }
  if (on_trial_ || !cleared_.empty()) return;
  const auto least = std::min_element(candidates.begin(), candidates.end(),
                                      [](const auto& a, const auto& b) { return a.requests < b.requests; });
  if (least == candidates.end()) return;
  if (least->requests == 0) {
    court_ = least->runner;
  } else if (!court_ && now_ns - std::min(now_ns, since_ns_) >= kPatience_ns) {
    court_ = least->runner;
  }
}

bool SuspectTrial::may_take(uint32_t runner, size_t requests, bool suspect) const {
  if (!suspect) return court_ != runner;
  return court_ == runner && !on_trial_ && requests == cleared_.size();
}

}  // namespace deepserve::daemon
