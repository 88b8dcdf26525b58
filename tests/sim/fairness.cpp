#include "tests/sim/fairness.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace deepserve::sim {
namespace {

// (instant, client, work over weight), in the order of time.
struct Served {
  uint64_t ended_ns;
  uint32_t client;
  double service;
};

std::vector<Served> served_in(const SimulationOptions& options, const SimulationResult& result,
                              double from_seconds, double to_seconds) {
  std::vector<Served> served;
  for (size_t i = 1; i < result.attempts.size(); ++i) {
    const Attempt& attempt = result.attempts[i];
    const Ask& ask = result.asks[attempt.ask];
    const double ended = static_cast<double>(attempt.ended_ns) * 1e-9;
    if (ask.stream != 0 || attempt.state != AttemptState::kFinished) continue;
    if (ended < from_seconds || ended >= to_seconds) continue;
    const double weight = options.demand.streams[0].clients[ask.client].weight;
    served.push_back({attempt.ended_ns, ask.client, result.work_of(attempt, options.shape) / weight});
  }
  std::ranges::sort(served, {}, &Served::ended_ns);
  return served;
}

}  // namespace

std::vector<double> service_by_client(const SimulationOptions& options, const SimulationResult& result,
                                      double from_seconds, double to_seconds) {
  std::vector<double> service(options.demand.streams[0].clients.size());
  for (const auto& one : served_in(options, result, from_seconds, to_seconds)) {
    service[one.client] += one.service;
  }
  return service;
}

double jain_index(const std::vector<double>& service) {
  const double sum = std::accumulate(service.begin(), service.end(), 0.0);
  const double squares = std::inner_product(service.begin(), service.end(), service.begin(), 0.0);
  return squares == 0 ? 1 : sum * sum / (static_cast<double>(service.size()) * squares);
}

double vtc_drift(const SimulationOptions& options, const SimulationResult& result, double warmup_seconds) {
  const size_t clients = options.demand.streams[0].clients.size();
  std::vector<double> service(clients);
  std::vector<std::pair<double, double>> range(clients * clients);  // of service[i] - service[j]
  for (const auto& one : served_in(options, result, warmup_seconds, options.seconds)) {
    service[one.client] += one.service;
    for (size_t other = 0; other < clients; ++other) {
      auto& [low, high] = range[one.client * clients + other];
      const double difference = service[one.client] - service[other];
      low = std::min(low, difference);
      high = std::max(high, difference);
      auto& [other_low, other_high] = range[other * clients + one.client];
      other_low = std::min(other_low, -difference);
      other_high = std::max(other_high, -difference);
    }
  }
  double drift = 0;
  for (const auto& [low, high] : range) drift = std::max(drift, high - low);
  uint32_t prompt_max = 0;
  for (const auto& ask : result.asks) prompt_max = std::max(prompt_max, ask.prompt_tokens);
  const double kv_tokens = static_cast<double>(options.shape.kv_blocks) * options.shape.block_tokens;
  const double bound =
      2 * std::max(options.shape.work_seconds(prompt_max, 0), options.shape.work_seconds(0, kv_tokens));
  return drift / bound;
}

}  // namespace deepserve::sim
