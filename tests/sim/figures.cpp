#include "tests/sim/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/sim/fairness.h"

namespace deepserve::sim {
namespace {

constexpr size_t kVip = 0;
constexpr size_t kBatch = 2;
constexpr double kCycleSeconds = 30;  // of a low and of a high load each
constexpr double kBinSeconds = 0.25;
constexpr double kMissedMax = 0.02;
constexpr double kBackloggedLoad = 25;  // so that also the heaviest asks for more than its part
constexpr double kSettleTimes = 4;      // as many seconds as the other figures take

Figure at_least(std::string what, double value, double bar) {
  return {std::move(what), fmt::format("{:.3f}", value), fmt::format(">= {:.3f}", bar), value >= bar};
}

Figure at_most(std::string what, double value, double bar) {
  return {std::move(what), fmt::format("{:.3f}", value), fmt::format("<= {:.3f}", bar), value <= bar};
}

// Vip alone on the host.
Tally unloaded(const FigureOptions& options) {
  auto run = usual_options(options, 1);
  run.demand.streams.resize(1);
  run.demand.streams[0].follows_load = false;
  return tally_of(run, options.seeds);
}

void add_vip(const FigureOptions& options, Tally& loaded, std::vector<Figure>& list) {
  Tally alone = unloaded(options);
  const double step = loaded.longest_step_seconds;
  const double p99_alone = quantile(alone.classes[kVip].ttft_seconds, 0.99);
  const double p99 = quantile(loaded.classes[kVip].ttft_seconds, 0.99);
  list.push_back(
      at_most(fmt::format("vip p99 TTFT at 10x, s (unloaded {:.3f}, a step up to {:.3f})", p99_alone, step),
              p99, std::max(1.2 * p99_alone, p99_alone + step)));
  list.push_back(at_least(fmt::format("vip success at 10x ({} of them; unloaded {:.4f})",
                                      loaded.classes[kVip].asks, alone.classes[kVip].success()),
                          loaded.classes[kVip].success(), 0.999));
}

// After how long a step from 1x to 5x is felt no more: the end of the last quarter of a second, by arrival
// after the step, of whose admitted requests surely more than 2 % missed (by three standard deviations of the
// count that 2 % would give).
double settle_seconds(const FigureOptions& options) {
  auto run = usual_options(options, 1);
  run.seconds *= kSettleTimes;
  run.demand.loads.clear();
  for (double at = 0; at < run.seconds; at += 2 * kCycleSeconds) {
    run.demand.loads.push_back({at, 1});
    run.demand.loads.push_back({at + kCycleSeconds, 5});
  }
  const auto bins = static_cast<size_t>(kCycleSeconds / kBinSeconds);
  std::vector<uint64_t> admitted(bins);
  std::vector<uint64_t> missed(bins);
  for (uint32_t i = 0; i < options.seeds; ++i, ++run.seed) {
    const auto result = simulate(run);
    for (const auto& attempt : result.attempts) {
      const double at = std::fmod(static_cast<double>(attempt.arrived_ns) * 1e-9, 2 * kCycleSeconds);
      if (attempt.state != AttemptState::kFinished || at < kCycleSeconds) continue;
      const auto bin = std::min(bins - 1, static_cast<size_t>((at - kCycleSeconds) / kBinSeconds));
      ++admitted[bin];
      if (result.asks[attempt.ask].outcome != AskOutcome::kFull) ++missed[bin];
    }
  }
  double settled = 0;
  for (size_t bin = 0; bin < bins; ++bin) {
    const double allowed = kMissedMax * static_cast<double>(admitted[bin]);
    if (static_cast<double>(missed[bin]) <= allowed + 3 * std::sqrt(allowed)) continue;
    settled = static_cast<double>(bin + 1) * kBinSeconds;
  }
  return settled;
}

// The worst of all seeds: Jain's index, and the drift of service over the VTC bound.
std::pair<double, double> fairness_of(const FigureOptions& options, const RetryHabits& retries) {
  auto run = usual_options(options, 10);
  run.demand = backlogged_demand(kBackloggedLoad, retries);
  double jain = 1;
  double drift = 0;
  for (uint32_t i = 0; i < options.seeds; ++i, ++run.seed) {
    const auto result = simulate(run);
    jain = std::min(jain, jain_index(service_by_client(run, result, 30, run.seconds)));
    drift = std::max(drift, vtc_drift(run, result, 30));
  }
  return {jain, drift};
}

void add_fairness(const FigureOptions& options, std::vector<Figure>& list) {
  const RetryHabits nobody_returns{0, 0, 1};
  const RetryHabits all_obey{1, 0, 4};
  for (const auto& [retries, what] : {std::pair{nobody_returns, "no retries"}, {all_obey, "all obey"}}) {
    const auto [jain, drift] = fairness_of(options, retries);
    list.push_back(at_least(
        fmt::format("Jain index, weights 1 1 2 2 4, all backlogged, {}, worst seed", what), jain, 0.98));
    list.push_back(at_most(fmt::format("service drift over the VTC bound, {}, worst seed", what), drift, 1));
  }
  auto hogged = usual_options(options, 5);
  hogged.demand = hog_demand(5);
  hogged.policy = options.policy;
  double small = 1;
  for (uint32_t i = 0; i < options.seeds; ++i, ++hogged.seed) {
    uint64_t asks = 0;
    uint64_t full = 0;
    for (const auto& ask : simulate(hogged).asks) {
      if (ask.client + 1 == hogged.demand.streams[0].clients.size()) continue;
      ++asks;
      if (ask.outcome == AskOutcome::kFull) ++full;
    }
    small = std::min(small, static_cast<double>(full) / static_cast<double>(std::max<uint64_t>(1, asks)));
  }
  list.push_back({"small clients beside a hog of 90 % at 5x: success, worst seed",
                  fmt::format("{:.3f}", small), "", true});
}

void add_honesty(Tally& tally, const char* at, std::vector<Figure>& list) {
  const double covered = tally.coverage();
  const auto by_class = [&](const auto& value) {
    const auto& [vip, normal, batch] = tally.classes;
    return fmt::format("vip {:.3f}, normal {:.3f}, batch {:.3f}", value(vip), value(normal), value(batch));
  };
  const auto part = [](uint64_t some, uint64_t all) {
    return static_cast<double>(some) / static_cast<double>(std::max<uint64_t>(1, all));
  };
  const auto covers = by_class([&](const ClassTally& one) { return part(one.covered, one.predicted); });
  const auto needless =
      by_class([&](const ClassTally& one) { return part(one.would_have_fit, one.attempts); });
  list.push_back({fmt::format("TTFT p90 prediction covers, at {} ({})", at, covers),
                  fmt::format("{:.3f}", covered), "0.880 - 0.920", covered >= 0.88 && covered <= 0.92});
  list.push_back(at_most(fmt::format("refused though it would have fit, at {} ({})", at, needless),
                         tally.refused_needlessly(), 0.02));
}

// Of 2x, 5x and 10x together.
void add_tickets(const FigureOptions& options, std::vector<Figure>& list) {
  Tally tally;
  for (const double load : {2.0, 5.0, 10.0}) {
    auto run = usual_options(options, load);
    for (uint32_t i = 0; i < options.seeds; ++i, ++run.seed) tally.add(run, simulate(run));
  }
  const double served =
      tally.claimed == 0 ? 0 : static_cast<double>(tally.claims_served) / static_cast<double>(tally.claimed);
  list.push_back(at_least(fmt::format("tickets served at the first on-time retry ({} of {} came back)",
                                      tally.claimed, tally.booked),
                          served, 0.95));
  const double p90 = quantile(tally.ticket_errors_seconds, 0.9);
  list.push_back(at_most(fmt::format("ticket error p90 ({:.3f} s) / max(1 s, 10 % of the wait)", p90),
                         quantile(tally.ticket_errors, 0.9), 1));
}

// What is to leave the rest alone: clients who lie about max_tokens, runners that die or reload.
void add_trouble(const FigureOptions& options, const Tally& at_2, std::vector<Figure>& list) {
  auto run = usual_options(options, 2);
  run.demand = liar_demand(2);
  const Tally lied = tally_of(run, options.seeds);
  list.push_back({"goodput at 2x with liars about max_tokens / without",
                  fmt::format("{:.3f}", lied.goodput() / at_2.goodput()), "", true});
  run = usual_options(options, 0.7);
  for (double at = 60; at < run.seconds; at += 60) {
    run.faults.push_back({at, 0, FaultKind::kDies, 1});
    run.faults.push_back({at + 30, 0, FaultKind::kDrains, 2});
  }
  const Tally broken = tally_of(run, options.seeds);
  list.push_back(
      {fmt::format("success at 0.7x, its runner dying (1 s) and reloading (2 s) every minute; vip {:.3f}",
                   broken.classes[kVip].success()),
       fmt::format("{:.3f}", broken.success()), "", true});
}

// A hog that has a limit of its own, and a model that fails for a while.
void add_limits(const FigureOptions& options, std::vector<Figure>& list) {
  auto run = usual_options(options, 3);
  run.demand = limited_demand(3);
  const auto limited = simulate(run);
  const size_t hog = run.demand.streams[0].clients.size() - 1;
  uint64_t asks = 0;
  uint64_t full = 0;
  uint64_t tokens = 0;
  for (size_t i = 1; i < limited.attempts.size(); ++i) {
    const auto& attempt = limited.attempts[i];
    if (limited.asks[attempt.ask].client == hog) tokens += attempt.prefilled + attempt.generated;
  }
  for (const auto& ask : limited.asks) {
    if (ask.client == hog) continue;
    ++asks;
    if (ask.outcome == AskOutcome::kFull) ++full;
  }
  const double allowed = run.seconds / 60 * static_cast<double>(kHogTokensPerMinute);
  list.push_back(
      {fmt::format("small clients beside a limited hog at 3x: success; it had {:.2f} of its tokens",
                   static_cast<double>(tokens) / allowed),
       fmt::format("{:.3f}", static_cast<double>(full) / static_cast<double>(std::max(asks, uint64_t{1}))),
       "", true});
  run = usual_options(options, 0.7);
  run.faults = {{60, 0, FaultKind::kFails, 40}};
  uint64_t failed = 0;
  uint64_t kept_away = 0;
  for (const auto& attempt : simulate(run).attempts) {
    if (attempt.state == AttemptState::kFailed) ++failed;
    if (attempt.reason == daemon::RefusalReason::kBreakerOpen) ++kept_away;
  }
  list.push_back(
      {fmt::format("answers that failed in 40 s in which the model does ({} were kept away)", kept_away),
       fmt::format("{}", failed), "", true});
}

}  // namespace

SimulationOptions usual_options(const FigureOptions& options, double load) {
  SimulationOptions run;
  run.shape = options.shape;
  run.demand = usual_demand(options.mix, options.arrivals, load);
  run.capacity = options.capacity;
  run.seconds = options.seconds;
  run.policy = options.policy;
  return run;
}

Tally tally_of(SimulationOptions options, uint32_t seeds) {
  Tally tally;
  for (uint32_t i = 0; i < seeds; ++i, ++options.seed) tally.add(options, simulate(options));
  return tally;
}

std::vector<Figure> figures(const FigureOptions& options) {
  std::vector<Figure> list;
  Tally at_1 = tally_of(usual_options(options, 1), options.seeds);
  Tally at_2 = tally_of(usual_options(options, 2), options.seeds);
  Tally at_10 = tally_of(usual_options(options, 10), options.seeds);
  auto knowing = options;
  knowing.policy = "oracle";
  const Tally oracle = tally_of(usual_options(knowing, 10), options.seeds);
  list.push_back(
      at_least(fmt::format("goodput at 10x / at 1x ({:.3f} / {:.3f})", at_10.goodput(), at_1.goodput()),
               at_10.goodput() / at_1.goodput(), 0.95));
  list.push_back(at_least(fmt::format("goodput at 10x / the oracle's ({:.3f})", oracle.goodput()),
                          at_10.goodput() / oracle.goodput(), 0.90));
  add_vip(options, at_10, list);
  list.push_back(at_most("settled after a step from 1x to 5x, s", settle_seconds(options), 1));
  add_fairness(options, list);
  list.push_back(at_most("work spent on what then missed, at 2x", at_2.wasted(), 0.01));
  list.push_back(at_most("work spent on what then missed, at 10x", at_10.wasted(), 0.01));
  add_honesty(at_1, "1x", list);
  add_honesty(at_2, "2x", list);
  add_honesty(at_10, "10x", list);
  add_tickets(options, list);
  list.push_back(
      at_least("batch's part of the work at 2x", at_2.classes[kBatch].work / at_2.total().work, 0.045));
  add_trouble(options, at_2, list);
  add_limits(options, list);
  return list;
}

}  // namespace deepserve::sim
