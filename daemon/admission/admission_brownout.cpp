// When the brownout ladder is climbed, and what its steps do to requests.
#include <algorithm>

#include "daemon/admission/admission.h"

namespace deepserve::daemon {

void Admission::step_ladder(uint64_t now_ns, AdmissionActions& actions) {
  const bool is_shedding = refused_ns_ != 0 && now_ns - refused_ns_ < kShedding_ns;
  if (!ladder_.step(is_shedding && vip_misses(now_ns), is_shedding, now_ns)) return;
  actions.emplace_back(BrownoutChanged{ladder_.level()});
}

// Whether admitted VIP work that has no token yet will probably be late: the first that waits for a model, or
// one that a runner has had until its deadline.
bool Admission::vip_misses(uint64_t now_ns) const {
  for (uint32_t model = 0; model < options_.models; ++model) {
    const auto head = queue_.line(model, ipc::Class::kVip).head();
    if (head == 0) continue;
    const auto& request = requests_.at(head);
    const auto placement = place(request, now_ns);
    const double start_s = placement.start_s + (placement.runner ? 0.0 : first_room_seconds(model));
    if (now_ns + static_cast<uint64_t>(std::min(start_s, 1e8) * 1e9) > request.deadline_ns) return true;
  }
  return std::any_of(requests_.begin(), requests_.end(), [now_ns](const auto& entry) {
    const Request& request = entry.second;
    const bool is_vip = request.load.service_class == ipc::Class::kVip;
    return is_vip && request.runner && !request.load.prefilled && !request.returned &&
           now_ns > request.deadline_ns;
  });
}

// What was accepted goes on whatever its class.
bool Admission::is_paused(const Request& request) const {
  const auto level = ladder_.level();
  if (request.accepted || request.load.service_class == ipc::Class::kVip) return false;
  if (level == BrownoutLevel::kVipOnly) return true;
  return request.load.service_class == ipc::Class::kBatch && level >= BrownoutLevel::kPauseBatch;
}

uint32_t Admission::capped_tokens(Request& request) const {
  const bool caps = ladder_.level() >= BrownoutLevel::kCapTokens && !request.accepted &&
                    request.load.service_class != ipc::Class::kVip;
  if (!caps || request.tokens_max <= BrownoutLadder::kTokensMax) return request.tokens_max_asked;
  request.capped = true;
  return std::min(request.tokens_max_asked, BrownoutLadder::kTokensMax);
}

}  // namespace deepserve::daemon
