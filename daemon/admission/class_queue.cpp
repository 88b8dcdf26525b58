#include "daemon/admission/class_queue.h"

#include <algorithm>
#include <numeric>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

size_t index_of(ipc::Class service_class) {
  return static_cast<size_t>(service_class);
}

}  // namespace

ClassQueue::ClassQueue(const Limits& limits, uint32_t models, uint64_t bytes_max)
    : limits_(limits), bytes_max_(bytes_max), models_(models) {
  for (const auto& limit : limits_) CHECK(limit.share > 0);
}

bool ClassQueue::push(const WaitingRequest& request) {
  CHECK(request.model < models_.size() && request.client_weight > 0 && !places_.contains(request.request));
  const size_t class_index = index_of(request.service_class);
  auto& model = models_[request.model];
  auto& line = model.lines[class_index];
  if (!request.booked && line.waiting.size() >= limits_[class_index].waiting_max) return false;
  if (waiting_bytes_ + request.bytes > bytes_max_) return false;
  // Who comes back after a pause starts at the present: nobody saves up a claim.
  if (line.waiting.empty()) line.served = std::max(line.served, model.time);
  add(request, false);
  const ClientLine::Waiting waiting{request.request, request.client, request.client_weight, request.cost,
                                    request.booked};
  line.waiting.push(waiting, arrivals_);
  return true;
}

void ClassQueue::push_replay(const WaitingRequest& request) {
  CHECK(request.model < models_.size() && !places_.contains(request.request));
  add(request, true);
  auto& model = models_[request.model];
  if (request.suspect) {
    model.suspects.emplace(std::pair(!request.first, arrivals_), request.request);
  } else {
    model.replays.emplace(arrivals_, request.request);
  }
}

void ClassQueue::add(const WaitingRequest& request, bool replay) {
  if (request.expires_ns != 0) expiries_.emplace(request.expires_ns, request.request);
  ++waiting_[index_of(request.service_class)];
  waiting_bytes_ += request.bytes;
  places_.emplace(request.request, Place{request, ++arrivals_, replay});
}

// The classes in the order in which they are to be served: the highest first that are not ahead of any other
// that waits, then those that are, the least ahead first.
std::array<size_t, ClassQueue::kClasses> ClassQueue::turns(const ModelLines& model) const {
  std::array<size_t, kClasses> order;
  std::iota(order.begin(), order.end(), size_t{0});
  double least = 0;
  bool any = false;
  for (const auto& line : model.lines) {
    if (line.waiting.empty()) continue;
    least = any ? std::min(least, line.served) : line.served;
    any = true;
  }
  const auto excess = [&](size_t i) {
    const double ahead = model.lines[i].served - least;
    return ahead <= kAhead_s ? 0.0 : ahead;
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return excess(a) < excess(b); });
  return order;
}

ipc::RequestId ClassQueue::next(uint32_t model) const {
  return next_that(model, [](ipc::RequestId) { return true; });
}

bool ClassQueue::taken(ipc::RequestId request) {
  const auto place = places_.find(request);
  CHECK(place != places_.end());
  const bool charged = !place->second.replay;
  if (charged) {
    const auto& waiting = place->second.request;
    const size_t class_index = index_of(waiting.service_class);
    auto& model = models_[waiting.model];
    auto& line = model.lines[class_index];
    model.time = std::max(model.time, line.served);
    line.served += waiting.cost / limits_[class_index].share;
  }
  erase(place, charged);
  return charged;
}

void ClassQueue::settle(uint32_t model, ipc::Class service_class, const std::string& client, double more) {
  const size_t class_index = index_of(service_class);
  auto& line = models_.at(model).lines[class_index];
  line.served += more / limits_[class_index].share;
  line.waiting.settle(client, more);
}

bool ClassQueue::remove(ipc::RequestId request) {
  const auto place = places_.find(request);
  if (place == places_.end()) return false;
  erase(place, false);
  return true;
}

void ClassQueue::keep(ipc::RequestId request) {
  auto& waiting = places_.at(request).request;
  if (waiting.expires_ns != 0) expiries_.erase({waiting.expires_ns, request});
  waiting.expires_ns = 0;
}

void ClassQueue::erase(std::unordered_map<ipc::RequestId, Place>::iterator place, bool charged) {
  const auto& waiting = place->second.request;
  const size_t class_index = index_of(waiting.service_class);
  auto& model = models_[waiting.model];
  --waiting_[class_index];
  waiting_bytes_ -= waiting.bytes;
  if (waiting.expires_ns != 0) expiries_.erase({waiting.expires_ns, waiting.request});
  if (waiting.suspect) {
    model.suspects.erase({!waiting.first, place->second.arrival});
  } else if (place->second.replay) {
    model.replays.erase(place->second.arrival);
  } else {
    model.lines[class_index].waiting.take(waiting.client, place->second.arrival, charged);
  }
  places_.erase(place);
}

std::vector<ipc::RequestId> ClassQueue::take_expired(uint64_t now_ns) {
  std::vector<ipc::RequestId> expired;
  while (!expiries_.empty() && expiries_.begin()->first <= now_ns) {
    expired.push_back(expiries_.begin()->second);
    remove(expired.back());
  }
  return expired;
}

uint64_t ClassQueue::next_expiry_ns() const {
  return expiries_.empty() ? 0 : expiries_.begin()->first;
}

uint32_t ClassQueue::waiting(ipc::Class service_class, uint32_t model) const {
  return static_cast<uint32_t>(line(model, service_class).size());
}

uint32_t ClassQueue::waiting_total() const {
  return std::accumulate(waiting_.begin(), waiting_.end(), 0u);
}

bool ClassQueue::waits_for(uint32_t model) const {
  const auto& lines = models_.at(model).lines;
  return std::any_of(lines.begin(), lines.end(), [](const Line& line) { return !line.waiting.empty(); });
}

double ClassQueue::cost(uint32_t model, ipc::Class service_class) const {
  return line(model, service_class).cost();
}

double ClassQueue::cost_ahead(uint32_t model, ipc::Class service_class, std::string_view client) const {
  return line(model, service_class).cost_ahead(client);
}

const ClientLine& ClassQueue::line(uint32_t model, ipc::Class service_class) const {
  return models_.at(model).lines[index_of(service_class)].waiting;
}

}  // namespace deepserve::daemon
