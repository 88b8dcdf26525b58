// What was said of requests that come in several parts (Arrived::whole), so that their further parts hear the
// same. Pure. Bounded: of more than kMax the oldest are forgotten; a part of one that is forgotten is judged
// by itself.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "daemon/admission/admission_action.h"
#include "daemon/admission/booking_desk.h"
#include "daemon/admission/client_limits.h"

namespace deepserve::daemon {

class WholeRequests {
 public:
  static constexpr size_t kMax = 4'096;

  struct Verdict {
    std::optional<RefusalReason> refused;  // nothing: it was let in
    std::optional<ClientDenial> denial;    // of one that was refused for its client's own limits
    BookingDesk::Redeemed back;            // what it came with; of a refused one its slot
  };

  // Null: nothing is remembered, or `whole` is 0. Valid until the next note().
  const Verdict* find(ipc::RequestId whole) const {
    const auto found = verdicts_.find(whole);
    return whole == 0 || found == verdicts_.end() ? nullptr : &found->second;
  }
  // Nothing for a `whole` of 0.
  void note(ipc::RequestId whole, const Verdict& verdict) {
    if (whole == 0) return;
    if (verdicts_.insert_or_assign(whole, verdict).second) order_.push_back(whole);
    if (order_.size() <= kMax) return;
    verdicts_.erase(order_.front());
    order_.pop_front();
  }

 private:
  std::unordered_map<ipc::RequestId, Verdict> verdicts_;
  std::deque<ipc::RequestId> order_;  // the oldest first
};

}  // namespace deepserve::daemon
