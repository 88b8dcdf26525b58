#include "tests/sim/arrivals.h"

#include <algorithm>
#include <limits>

namespace deepserve::sim {
namespace {

constexpr double kBurstyCv = 4;
constexpr double kBytesPerToken = 3.8;
constexpr double kBytesSigma = 0.15;
constexpr uint32_t kRoundTokens = 64;  // people name round limits
constexpr uint32_t kLie = 4'096;

}  // namespace

Arrivals::Arrivals(const SimulationOptions& options, uint32_t stream)
    : options_(options),
      stream_(options.demand.streams[stream]),
      index_(stream),
      gaps_(options.seed, 2 * stream),
      asks_(options.seed, 2 * stream + 1) {
  for (const auto& client : stream_.clients) shares_ += client.share;
}

double Arrivals::rate(double& until_seconds) const {
  until_seconds = std::numeric_limits<double>::infinity();
  for (const auto& step : options_.demand.loads) {
    if (step.from_seconds > seconds_) until_seconds = std::min(until_seconds, step.from_seconds);
  }
  return options_.capacity * options_.demand.rate_of(stream_, options_.demand.load_at(seconds_));
}

std::optional<uint64_t> Arrivals::next_ns() {
  double gap = stream_.arrivals == ArrivalKind::kBursty ? gaps_.gamma(kBurstyCv) : gaps_.exponential();
  while (seconds_ < options_.seconds) {
    double until = 0;
    const double per_second = rate(until);
    const double here = (until - seconds_) * per_second;
    if (per_second > 0 && gap <= here) {
      seconds_ += gap / per_second;
      if (seconds_ >= options_.seconds) break;
      return static_cast<uint64_t>(seconds_ * 1e9);
    }
    gap -= per_second > 0 ? here : 0;
    seconds_ = until;
  }
  return std::nullopt;
}

Ask Arrivals::draw() {
  Ask ask;
  ask.stream = index_;
  double pick = asks_.uniform() * shares_;
  while (ask.client + 1 < stream_.clients.size() && (pick -= stream_.clients[ask.client].share) > 0) {
    ++ask.client;
  }
  const auto& retries = options_.demand.retries;
  const double habit = asks_.uniform();
  if (habit <= retries.obey) {
    ask.habit = RetryHabit::kObeys;
  } else if (habit <= retries.obey + retries.ignore) {
    ask.habit = RetryHabit::kIgnores;
  }
  const Lengths lengths =
      sim::draw(stream_.lengths, options_.shape.prompt_scale, options_.shape.output_scale, asks_);
  ask.prompt_tokens = std::max(1u, lengths.prompt_tokens);
  ask.output_tokens = std::max(2u, lengths.output_tokens);
  ask.prompt_bytes =
      static_cast<uint32_t>(ask.prompt_tokens * asks_.lognormal(kBytesPerToken, kBytesSigma)) + 1;
  const auto honest = static_cast<uint32_t>(ask.output_tokens * asks_.uniform(1, 3));
  ask.tokens_max = (honest / kRoundTokens + 1) * kRoundTokens;
  if (stream_.clients[ask.client].liar) ask.tokens_max = std::max(ask.tokens_max, kLie);
  return ask;
}

}  // namespace deepserve::sim
