#include "daemon/admission/client_line.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {

ClientLine::Client& ClientLine::client_of(const Waiting& waiting) {
  CHECK(waiting.weight > 0 && waiting.cost >= 0);
  auto found = clients_.find(waiting.client);
  if (found == clients_.end()) {
    auto client = std::make_unique<Client>();
    client->name = waiting.client;
    client->weight = waiting.weight;
    const std::string_view name = client->name;
    found = clients_.emplace(name, std::move(client)).first;
  }
  auto& client = *found->second;
  if (client.idle) idle_.erase(client.place);
  client.idle = false;
  return client;
}

// The counter that one who comes back starts from.
double ClientLine::present() const {
  if (turns_.empty()) return virtual_;
  return std::clamp(virtual_, (*turns_.begin())->counter, (*turns_.rbegin())->counter);
}

void ClientLine::push(const Waiting& waiting, uint64_t arrival) {
  auto& client = client_of(waiting);
  if (client.waiting.empty()) client.counter = std::max(client.counter, present());
  ++size_;
  cost_ += waiting.cost;
  if (waiting.booked) {
    booked_.emplace(arrival, Booked{waiting.request, waiting.cost, &client});
    ++client.unsettled;  // it stays known until the booked one is taken
    return;
  }
  if (client.waiting.empty()) {
    client.first = arrival;
    client.weight = waiting.weight;
    weights_ += client.weight;
  }
  client.waiting.emplace(arrival, std::pair{waiting.request, waiting.cost});
  client.cost += waiting.cost;
  turns_.insert(&client);
}

ipc::RequestId ClientLine::head() const {
  if (!booked_.empty()) return booked_.begin()->second.request;
  return turns_.empty() ? 0 : (*turns_.begin())->waiting.begin()->second.first;
}

void ClientLine::take(std::string_view client_name, uint64_t arrival, bool charged) {
  double cost = 0;
  auto& client = *clients_.at(client_name);
  if (const auto booked = booked_.find(arrival); booked != booked_.end()) {
    cost = booked->second.cost;
    booked_.erase(booked);
    --client.unsettled;
  } else {
    const auto waiting = client.waiting.find(arrival);
    CHECK(waiting != client.waiting.end());
    cost = waiting->second.second;
    client.cost = std::max(0.0, client.cost - cost);
    if (charged) virtual_ = std::max(present(), client.counter) + cost / weights_;
    turns_.erase(&client);
    client.waiting.erase(waiting);
    if (!client.waiting.empty()) {
      client.first = client.waiting.begin()->first;
      turns_.insert(&client);
    } else {
      weights_ = turns_.empty() ? 0 : weights_ - client.weight;
    }
  }
  --size_;
  cost_ = size_ == 0 ? 0 : std::max(0.0, cost_ - cost);
  if (charged) {
    ++client.unsettled;
    charge(client, cost);
  }
  rest(client);
}

void ClientLine::settle(std::string_view client_name, double more) {
  auto& client = *clients_.at(client_name);
  CHECK(client.unsettled > 0);
  --client.unsettled;
  charge(client, more);
  rest(client);
}

void ClientLine::charge(Client& client, double cost) {
  const bool waits = !client.waiting.empty();
  if (waits) turns_.erase(&client);
  client.counter += cost / client.weight;
  if (waits) turns_.insert(&client);
}

void ClientLine::rest(Client& client) {
  if (!client.waiting.empty() || client.unsettled > 0) return;
  idle_.push_front(&client);
  client.place = idle_.begin();
  client.idle = true;
  forget_idle();
}

void ClientLine::forget_idle() {
  while (!idle_.empty() && (idle_.size() > kIdleMax || idle_.back()->counter <= present())) {
    const auto found = clients_.find(idle_.back()->name);
    idle_.pop_back();
    clients_.erase(found);
  }
}

double ClientLine::cost_ahead(std::string_view client_name) const {
  double ahead = 0;
  for (const auto& [arrival, booked] : booked_) ahead += booked.cost;
  if (turns_.empty()) return ahead;
  const auto found = clients_.find(client_name);
  const Client* own = found == clients_.end() ? nullptr : found->second.get();
  double reach = std::max(own == nullptr ? 0.0 : own->counter, present());
  if (own != nullptr) reach += own->cost / own->weight;
  size_t looked_at = 0;
  for (const Client* client : turns_) {
    if (client->counter > reach) break;
    if (++looked_at > kLookedAtMax) return cost_;
    // A client is served once more as long as it is not beyond `reach`: a request in part counts.
    ahead += client == own ? client->cost
                           : std::min(client->cost, (reach - client->counter) * client->weight +
                                                        client->waiting.begin()->second.second);
  }
  return std::min(ahead, cost_);
}

double ClientLine::booked_cost() const {
  double cost = 0;
  for (const auto& [arrival, booked] : booked_) cost += booked.cost;
  return cost;
}

double ClientLine::counter(std::string_view client_name) const {
  const auto found = clients_.find(client_name);
  return found == clients_.end() ? 0 : found->second->counter;
}

}  // namespace deepserve::daemon
