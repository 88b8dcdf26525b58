// What can be seen of the admission core.
#include <algorithm>

#include "daemon/admission/admission.h"

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(WaitReason::kCount)> kWaitReasons = {
    "none", "no_runner", "ahead", "seats", "prefill", "memory", "lane", "brownout", "trial"};
static_assert(!kWaitReasons.back().empty());

}  // namespace

std::string_view wait_reason_name(WaitReason value) {
  return kWaitReasons.at(static_cast<size_t>(value));
}

std::vector<ipc::RequestId> Admission::waiting_for(uint32_t model) const {
  std::vector<ipc::RequestId> ids;
  for (const auto& [id, request] : requests_) {
    if (request.model == model && !request.runner) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

bool Admission::was_tried(ipc::RequestId request) const {
  const auto found = requests_.find(request);
  return found != requests_.end() && found->second.suspect;
}

std::optional<RequestView> Admission::view(ipc::RequestId id) const {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return std::nullopt;
  const auto& request = found->second;
  RequestView view;
  view.request = id;
  view.service_class = request.load.service_class;
  view.model = request.model;
  view.client = request.client;
  view.runner = request.runner;
  view.booked = request.booked;
  view.arrived_ns = clock_.to_reading(request.arrived_ns);
  view.deadline_ns = clock_.to_reading(request.deadline_ns);
  view.predicted_ttft_ns = static_cast<uint64_t>(std::max(0.0, request.predicted.stretched_s) * 1e9);
  view.cost = request.cost;
  view.prompt_tokens = request.load.prompt_tokens;
  view.expected_tokens = request.load.expected_tokens;
  if (request.runner) return view;
  view.cost_ahead = queue_.cost_ahead(request.model, request.load.service_class, request.client);
  view.waits_for = place(request, clock_.now_ns()).blocked;
  if (view.waits_for == WaitReason::kNone) view.waits_for = WaitReason::kAhead;
  return view;
}

}  // namespace deepserve::daemon
