#include "daemon/dispatch/request_trace.h"

#include <array>
#include <utility>

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(TraceKind::kCount)> kNames = {
    "arrived", "dispatched", "returned", "accepted", "first_token", "runner_died",
    "adopted", "let_go",     "finished", "failed",   "refused",     "cancelled"};
static_assert(!kNames.back().empty());

}  // namespace

std::string_view trace_kind_name(TraceKind kind) {
  return kNames.at(static_cast<size_t>(kind));
}

void RequestTrace::add(TraceEvent event) {
  if (events_.size() == kEventsMax) {
    events_.erase(events_.begin() + kEventsMax / 2);
    ++left_out_;
  }
  events_.push_back(std::move(event));
}

void TraceShelf::put(RequestTrace trace) {
  const auto id = trace.request;
  if (traces_.insert_or_assign(id, std::move(trace)).second) order_.push_back(id);
  if (order_.size() <= kTracesMax) return;
  traces_.erase(order_.front());
  order_.pop_front();
}

const RequestTrace* TraceShelf::find(ipc::RequestId request) const {
  const auto found = traces_.find(request);
  return found == traces_.end() ? nullptr : &found->second;
}

}  // namespace deepserve::daemon
