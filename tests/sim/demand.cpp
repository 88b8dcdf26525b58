#include "tests/sim/demand.h"

#include <fmt/format.h>

namespace deepserve::sim {
namespace {

std::vector<SimClient> clients(const char* prefix, uint32_t count) {
  std::vector<SimClient> result;
  for (uint32_t i = 0; i < count; ++i) result.push_back({fmt::format("{}{}", prefix, i)});
  return result;
}

}  // namespace

Demand usual_demand(Mix mix, ArrivalKind arrivals, double load) {
  Demand demand;
  demand.streams = {
      {ipc::Class::kVip, 0.3, mix == Mix::kProportional, arrivals, vip_lengths(), clients("vip", 4)},
      {ipc::Class::kNormal, 0.6, true, arrivals, normal_lengths(), clients("normal", 16)},
      {ipc::Class::kBatch, 0.1, true, arrivals, batch_lengths(), clients("batch", 4)}};
  demand.loads = {{0, load}};
  return demand;
}

Demand hog_demand(double load) {
  Demand demand;
  demand.streams = {
      {ipc::Class::kNormal, 1, true, ArrivalKind::kPoisson, normal_lengths(), clients("small", 9)}};
  auto& named = demand.streams[0].clients;
  for (auto& client : named) client.share = 0.1 / 9;
  named.push_back({"hog", 0.9});
  demand.loads = {{0, load}};
  demand.retries = {0, 0, 1};
  return demand;
}

Demand limited_demand(double load) {
  Demand demand = hog_demand(load);
  demand.streams[0].clients.back().rules.tokens_per_minute = kHogTokensPerMinute;
  return demand;
}

Demand backlogged_demand(double load, const RetryHabits& retries) {
  Demand demand;
  demand.streams = {{ipc::Class::kNormal, 1, true, ArrivalKind::kPoisson, normal_lengths(), {}}};
  auto& named = demand.streams[0].clients;
  for (const double weight : {1.0, 1.0, 2.0, 2.0, 4.0}) {
    named.push_back({fmt::format("client{}", named.size()), 1, weight});
  }
  demand.loads = {{0, load}};
  demand.retries = retries;
  return demand;
}

Demand liar_demand(double load) {
  Demand demand = usual_demand(Mix::kVipFixed, ArrivalKind::kPoisson, load);
  auto& named = demand.streams[1].clients;
  for (size_t i = 0; i < named.size(); i += 2) named[i].liar = true;
  return demand;
}

}  // namespace deepserve::sim
