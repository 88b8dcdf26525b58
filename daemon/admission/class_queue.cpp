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
  if (line.order.size() >= limits_[class_index].waiting_max) return false;
  if (waiting_bytes_ + request.bytes > bytes_max_) return false;
  // Who comes back after a pause starts at the present: nobody saves up a claim.
  if (line.order.empty()) line.served = std::max(line.served, model.time);
  auto& finish = line.client_finish[request.client];
  finish = std::max(finish, line.client_time) + 1.0 / request.client_weight;
  ++line.client_waiting[request.client];
  const Order order{finish, ++arrivals_};
  line.order.emplace(order, request.request);
  if (request.deadline_ns != 0) deadlines_.emplace(request.deadline_ns, request.request);
  ++waiting_[class_index];
  waiting_bytes_ += request.bytes;
  places_.emplace(request.request, Place{request, order, false});
  return true;
}

void ClassQueue::push_replay(const WaitingRequest& request) {
  CHECK(request.model < models_.size() && !places_.contains(request.request));
  const Order order{0, ++arrivals_};
  models_[request.model].replays.emplace(order.second, request.request);
  if (request.deadline_ns != 0) deadlines_.emplace(request.deadline_ns, request.request);
  ++waiting_[index_of(request.service_class)];
  waiting_bytes_ += request.bytes;
  places_.emplace(request.request, Place{request, order, true});
}

// The line whose next request would finish first in virtual time; the higher class where two are equal.
const ClassQueue::Line* ClassQueue::best_line(const ModelLines& model) const {
  const Line* best = nullptr;
  double best_finish = 0;
  for (size_t i = 0; i < kClasses; ++i) {
    const auto& line = model.lines[i];
    if (line.order.empty()) continue;
    const double finish = line.served + 1.0 / limits_[i].share;
    if (best != nullptr && finish >= best_finish) continue;
    best = &line;
    best_finish = finish;
  }
  return best;
}

ipc::RequestId ClassQueue::next(uint32_t model) const {
  CHECK(model < models_.size());
  const auto& lines = models_[model];
  if (!lines.replays.empty()) return lines.replays.begin()->second;
  const auto* line = best_line(lines);
  return line == nullptr ? 0 : line->order.begin()->second;
}

void ClassQueue::taken(ipc::RequestId request) {
  const auto place = places_.find(request);
  CHECK(place != places_.end());
  const auto& waiting = place->second.request;
  if (!place->second.replay) {
    const size_t class_index = index_of(waiting.service_class);
    auto& model = models_[waiting.model];
    auto& line = model.lines[class_index];
    model.time = std::max(model.time, line.served);
    line.served += 1.0 / limits_[class_index].share;
    line.client_time = std::max(line.client_time, place->second.order.first - 1.0 / waiting.client_weight);
  }
  erase(place);
}

bool ClassQueue::remove(ipc::RequestId request) {
  const auto place = places_.find(request);
  if (place == places_.end()) return false;
  erase(place);
  return true;
}

void ClassQueue::erase(std::unordered_map<ipc::RequestId, Place>::iterator place) {
  const auto& waiting = place->second.request;
  const size_t class_index = index_of(waiting.service_class);
  auto& model = models_[waiting.model];
  --waiting_[class_index];
  waiting_bytes_ -= waiting.bytes;
  deadlines_.erase({waiting.deadline_ns, waiting.request});
  if (place->second.replay) {
    model.replays.erase(place->second.order.second);
  } else {
    auto& line = model.lines[class_index];
    line.order.erase(place->second.order);
    const auto count = line.client_waiting.find(waiting.client);
    if (--count->second == 0) {
      line.client_waiting.erase(count);
      line.client_finish.erase(waiting.client);
    }
  }
  places_.erase(place);
}

std::vector<ipc::RequestId> ClassQueue::take_expired(uint64_t now_ns) {
  std::vector<ipc::RequestId> expired;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_ns) {
    expired.push_back(deadlines_.begin()->second);
    remove(expired.back());
  }
  return expired;
}

uint64_t ClassQueue::next_deadline_ns() const {
  return deadlines_.empty() ? 0 : deadlines_.begin()->first;
}

std::vector<ipc::RequestId> ClassQueue::take_all(uint32_t model) {
  std::vector<ipc::RequestId> all;
  for (auto request = next(model); request != 0; request = next(model)) {
    all.push_back(request);
    remove(request);
  }
  return all;
}

uint32_t ClassQueue::waiting(ipc::Class service_class, uint32_t model) const {
  return static_cast<uint32_t>(models_.at(model).lines[index_of(service_class)].order.size());
}

uint32_t ClassQueue::waiting_total() const {
  return std::accumulate(waiting_.begin(), waiting_.end(), 0u);
}

}  // namespace deepserve::daemon
