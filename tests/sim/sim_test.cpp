// The simulator itself: same seed, same trace; its parts do what their headers say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/sim/arrivals.h"
#include "tests/sim/capacity.h"
#include "tests/sim/fairness.h"
#include "tests/sim/figures.h"
#include "tests/sim/policy.h"
#include "tests/sim/svg_chart.h"

namespace deepserve::sim {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kRate = 1.6;  // requests a second that the CPU shape bears

FigureOptions short_options(std::string_view policy) {
  FigureOptions options;
  options.policy = policy;
  options.seconds = 60;
  options.capacity = kRate;
  return options;
}

// Mean and coefficient of variation of the gaps between a stream's arrivals.
std::pair<double, double> gaps_of(ArrivalKind kind, double load) {
  SimulationOptions options;
  options.demand = usual_demand(Mix::kProportional, kind, load);
  options.seconds = 200'000;
  Arrivals arrivals(options, 1);
  double last = 0;
  std::vector<double> gaps;
  while (const auto at = arrivals.next_ns()) {
    gaps.push_back(static_cast<double>(*at) * 1e-9 - last);
    last += gaps.back();
  }
  const auto count = static_cast<double>(gaps.size());
  const double mean = std::accumulate(gaps.begin(), gaps.end(), 0.0) / count;
  double squares = 0;
  for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
  return {mean, std::sqrt(squares / count) / mean};
}

TEST(Simulator, SameSeedGivesSameTraceUnderEveryPolicy) {
  for (const auto& policy : policy_names()) {
    auto options = usual_options(short_options(policy.name), 3);
    const auto first = simulate(options);
    EXPECT_EQ(simulate(options).trace_hash, first.trace_hash) << policy.name;
    ++options.seed;
    EXPECT_NE(simulate(options).trace_hash, first.trace_hash) << policy.name;
  }
}

TEST(Simulator, ArrivalsHaveTheirRateAndTheirBurstiness) {
  const auto [poisson_mean, poisson_cv] = gaps_of(ArrivalKind::kPoisson, 2);
  EXPECT_NEAR(poisson_mean, 1 / 1.2, 0.02);  // 0.6 of a load of 2 at a capacity of 1
  EXPECT_NEAR(poisson_cv, 1, 0.02);
  const auto [bursty_mean, bursty_cv] = gaps_of(ArrivalKind::kBursty, 2);
  EXPECT_NEAR(bursty_mean, 1 / 1.2, 0.06);
  EXPECT_NEAR(bursty_cv, 4, 0.3);
}

TEST(Simulator, VipKeepsItsRateWhereTheMixSaysSo) {
  const auto fixed = usual_demand(Mix::kVipFixed, ArrivalKind::kPoisson, 10);
  EXPECT_DOUBLE_EQ(fixed.rate_of(fixed.streams[0], 10), 0.3);
  EXPECT_DOUBLE_EQ(fixed.rate_of(fixed.streams[1], 10) + fixed.rate_of(fixed.streams[2], 10), 9.7);
  const auto grows = usual_demand(Mix::kProportional, ArrivalKind::kPoisson, 10);
  EXPECT_DOUBLE_EQ(grows.rate_of(grows.streams[0], 10), 3);
}

TEST(Simulator, QueueWithoutAnEndCollapsesAndTheOracleDoesNot) {
  auto options = short_options("fifo");
  options.seconds = 300;
  EXPECT_LT(tally_of(usual_options(options, 5), 1).success(), 0.05);
  options.policy = "oracle";
  const Tally oracle = tally_of(usual_options(options, 5), 1);
  EXPECT_GT(oracle.classes[0].success(), 0.99);
  EXPECT_LT(oracle.wasted(), 0.01);
}

TEST(Simulator, RunnersThatDieOrReloadLoseNobody) {
  for (const auto* policy : {"deepserve", "oracle", "capped-fifo"}) {
    auto options = usual_options(short_options(policy), 0.7);
    options.runners = 2;
    options.demand.retries = {0, 0, 1};
    options.faults = {{10, 0, FaultKind::kDies, 2},
                      {20, 1, FaultKind::kDrains, 3},
                      {30, 0, FaultKind::kDies, 1},
                      {30, 1, FaultKind::kDies, 1}};
    const auto result = simulate(options);
    uint64_t returned = 0;
    for (const auto& attempt : result.attempts) {
      if (!attempt.returned) continue;
      ++returned;
      EXPECT_TRUE(attempt.state == AttemptState::kFinished ||
                  (attempt.state == AttemptState::kRefused && attempt.first_token_ns == 0));
    }
    EXPECT_GT(returned, 0u) << policy;
    for (const auto& ask : result.asks) EXPECT_NE(ask.outcome, AskOutcome::kOpen) << policy;
  }
}

TEST(RunnerModel, PreemptsAndRecomputesWhereBlocksRunShort) {
  RunnerShape shape = kCpuShape;
  shape.kv_blocks = 20;
  RunnerModel runner(shape, 1, 0);
  for (uint64_t i = 1; i <= 6; ++i) runner.submit({i, ipc::Class::kNormal, 40, 120, 120, 0});
  std::vector<RunnerEvent> events;
  uint32_t finished = 0;
  while (runner.has_work()) {
    runner.begin_step();
    events.clear();
    runner.end_step(events);
    runner.check_accounting();
    for (const auto& event : events) finished += event.kind == RunnerEvent::Kind::kFinished;
  }
  EXPECT_EQ(finished, 6u);
  EXPECT_GT(runner.preemptions(), 0u);
}

TEST(RunnerModel, VipIsNoLaterThanOnAnIdleHostPlusOneStep) {
  const auto vip_ttft = [](uint32_t others) {
    RunnerModel runner(kCpuShape, 1, 0);
    for (uint64_t i = 1; i <= others; ++i) runner.submit({i, ipc::Class::kNormal, 300, 200, 200, 0});
    std::vector<RunnerEvent> events;
    for (int step = 0; step < 50 && runner.has_work(); ++step) {
      runner.begin_step();
      runner.end_step(events);
    }
    double seconds = 0;
    if (runner.has_work()) seconds = runner.begin_step();  // it cannot be stopped
    runner.submit({1'000, ipc::Class::kVip, 150, 10, 10, 0});
    if (others > 0) runner.end_step(events);
    for (;;) {
      seconds += runner.begin_step();
      events.clear();
      runner.end_step(events);
      for (const auto& event : events) {
        if (event.attempt == 1'000 && event.kind == RunnerEvent::Kind::kToken) return seconds;
      }
    }
  };
  EXPECT_LE(vip_ttft(40), vip_ttft(0) + kCpuShape.step_seconds_max);
}

TEST(Figures, JainIndexIsOneForAllAlikeAndOneNthForOneWithAll) {
  EXPECT_DOUBLE_EQ(jain_index({2, 2, 2, 2}), 1);
  EXPECT_DOUBLE_EQ(jain_index({5, 0, 0, 0}), 0.25);
}

TEST(Figures, CapacityIsWhereNinetyNineOfAHundredGetTheirAnswer) {
  SimulationOptions options;
  options.policy = "oracle";
  options.seconds = 120;
  const double capacity = find_capacity(options, 1);
  EXPECT_GT(capacity, 0.3);
  EXPECT_LT(capacity, 4);
}

TEST(Figures, ChartsAreEscapedAndLeaveOutWhatALogAxisCannotShow) {
  const std::string svg = svg_of({"a < b & c", "x", "y", true, {{"one", {{1, 0}, {2, 10}, {3, 100}}}}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, HasSubstr("<polyline"));
}

}  // namespace
}  // namespace deepserve::sim
