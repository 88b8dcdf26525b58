// The daemon's admission core in the simulator: short runs of what admission_sim measures at length, with
// the invariants of simulation.h checked at each step. Bounds are a little wider than the figures' bars.
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/admission/breaker.h"
#include "tests/sim/fairness.h"
#include "tests/sim/figures.h"

namespace deepserve::sim {
namespace {

constexpr size_t kVip = 0;
constexpr size_t kBatch = 2;

FigureOptions options_of(double seconds = 300) {
  FigureOptions options;
  options.seconds = seconds;
  options.seeds = 2;
  options.capacity = 0.94;  // as admission_sim finds it
  return options;
}

Tally at(double load, double seconds = 300) {
  return tally_of(usual_options(options_of(seconds), load), 2);
}

TEST(AdmissionCore, DoesAsMuchUsefulWorkAtTenTimesTheLoadAndWastesHardlyAny) {
  const Tally once = at(1);
  const Tally ten_times = at(10);
  EXPECT_GE(ten_times.goodput(), 0.95 * once.goodput());
  EXPECT_LE(ten_times.wasted(), 0.02);
  auto knowing = options_of();
  knowing.policy = "oracle";
  EXPECT_GE(ten_times.goodput(), 0.85 * tally_of(usual_options(knowing, 10), 2).goodput());
}

TEST(AdmissionCore, VipDoesNotNoticeTenTimesTheLoad) {
  auto alone = usual_options(options_of(), 1);
  alone.demand.streams.resize(1);
  alone.demand.streams[0].follows_load = false;
  Tally unloaded = tally_of(alone, 2);
  Tally loaded = at(10);
  auto& vip = loaded.classes[kVip];
  EXPECT_EQ(vip.full(), vip.asks);
  const double p95 = quantile(unloaded.classes[kVip].ttft_seconds, 0.95);
  EXPECT_LE(quantile(vip.ttft_seconds, 0.95), p95 + loaded.longest_step_seconds);
}

TEST(AdmissionCore, NineOfTenFirstTokensComeWithinWhatWasPredictedAtAnyLoad) {
  for (const double load : {1.0, 2.0, 10.0}) {
    const Tally tally = at(load);
    EXPECT_GE(tally.coverage(), 0.86) << load;
    EXPECT_LE(tally.coverage(), 0.94) << load;
  }
}

TEST(AdmissionCore, WhoHasRoomIsNotRefused) {
  EXPECT_LE(at(1).refused_needlessly(), 0.02);
}

TEST(AdmissionCore, TicketsAreWorthWhatTheySay) {
  Tally tally = at(10);
  ASSERT_GT(tally.claimed, 20u);
  EXPECT_GE(static_cast<double>(tally.claims_served), 0.88 * static_cast<double>(tally.claimed));
  EXPECT_LE(quantile(tally.ticket_errors, 0.9), 1.5);
}

TEST(AdmissionCore, BatchIsToldAboutWhatItHasToWaitBehindNormalWork) {
  const Tally tally = at(10, 600);
  const auto& batch = tally.classes[kBatch];
  EXPECT_GE(static_cast<double>(batch.covered), 0.83 * static_cast<double>(batch.predicted));
}

TEST(AdmissionCore, BatchKeepsItsShareBesideTwiceTheLoad) {
  const Tally tally = at(2);
  EXPECT_GE(tally.classes[kBatch].work, 0.045 * tally.total().work);
}

TEST(AdmissionCore, BatchIsNotStarvedByARunnerThatAlwaysPrefillsNormalWork) {
  auto options = options_of();
  options.shape = kGpuShape;
  options.capacity = 9;
  const Tally tally = tally_of(usual_options(options, 2), 1);
  EXPECT_GE(tally.classes[kBatch].work, 0.03 * tally.total().work);
}

TEST(AdmissionCore, ClientsWhoAllWantMoreAreServedByTheirWeights) {
  auto run = usual_options(options_of(), 10);
  run.demand = backlogged_demand(25, {0, 0, 1});
  const auto result = simulate(run);
  EXPECT_GE(jain_index(service_by_client(run, result, 30, run.seconds)), 0.96);
  EXPECT_LE(vtc_drift(run, result, 30), 1);
}

TEST(AdmissionCore, ClientsWhoAllComeBackAsToldAreServedByTheirWeights) {
  auto run = usual_options(options_of(), 10);
  run.demand = backlogged_demand(25, {1, 0, 4});
  const auto result = simulate(run);
  EXPECT_GE(jain_index(service_by_client(run, result, 30, run.seconds)), 0.96);
  EXPECT_LE(vtc_drift(run, result, 30), 1);
}

TEST(AdmissionCore, BurstsNeitherStarveVipNorWasteWork) {
  auto bursty = options_of();
  bursty.arrivals = ArrivalKind::kBursty;
  const Tally loaded = tally_of(usual_options(bursty, 10), 2);
  auto alone = usual_options(bursty, 1);
  alone.demand.streams.resize(1);
  alone.demand.streams[0].follows_load = false;
  EXPECT_GE(loaded.classes[kVip].success(), tally_of(alone, 2).classes[kVip].success() - 0.03);
  EXPECT_LE(loaded.wasted(), 0.04);
}

TEST(AdmissionCore, ServesAGpuLikeItServesACpu) {
  auto options = options_of(120);
  options.shape = kGpuShape;
  options.capacity = 9;
  const Tally loaded = tally_of(usual_options(options, 5), 1);
  EXPECT_EQ(loaded.classes[kVip].full(), loaded.classes[kVip].asks);
  EXPECT_LE(loaded.wasted(), 0.02);
  EXPECT_GE(loaded.goodput(), 0.7);
}

TEST(AdmissionCore, AClockThatLeapsOrGoesBackEndsNothingTwiceAndIsSoonForgotten) {
  auto run = usual_options(options_of(), 10);
  const Tally steady = tally_of(run, 2);
  run.jumps = {{60, 600}, {100, -300}, {101, -300}, {140, -0.5}, {180, 30}, {220, -86'400}, {260, 0.4}};
  run.jumps.front().by_seconds += 100'000;  // so that the others do not go below zero
  const Tally jumpy = tally_of(run, 2);
  EXPECT_GE(jumpy.classes[kVip].success(), 0.98);
  EXPECT_GE(jumpy.goodput(), 0.93 * steady.goodput());
  EXPECT_LE(jumpy.wasted(), 0.02);
}

TEST(AdmissionCore, NobodyGainsPriorityFromAClockThatJumps) {
  auto run = usual_options(options_of(), 10);
  run.demand = backlogged_demand(25, {0, 0, 1});
  run.jumps = {{60, 900}, {120, -600}, {200, 45}};
  const auto result = simulate(run);
  EXPECT_GE(jain_index(service_by_client(run, result, 30, run.seconds)), 0.96);
  EXPECT_LE(vtc_drift(run, result, 30), 1);
}

TEST(AdmissionCore, AModelThatFailsIsLeftAloneUntilAProbeFindsItWellAgain) {
  constexpr double kFrom = 60;
  constexpr double kFor = 40;
  auto run = usual_options(options_of(180), 0.7);
  run.demand.retries = {0, 0, 1};
  run.faults = {{kFrom, 0, FaultKind::kFails, kFor}};
  const auto result = simulate(run);
  uint64_t failed = 0;
  uint64_t kept_away = 0;
  for (const auto& attempt : result.attempts) {
    const double ended = static_cast<double>(attempt.ended_ns) * 1e-9;
    if (attempt.state == AttemptState::kFailed) ++failed;
    if (attempt.reason != daemon::RefusalReason::kBreakerOpen) continue;
    ++kept_away;
    EXPECT_GT(ended, kFrom);
    EXPECT_LT(ended, kFrom + kFor + 15);  // the last probe that fails, 5 s, and one that ends well
  }
  // Five in a row, those that ran beside them, and a probe each 5 s.
  EXPECT_GE(failed, daemon::Breaker::kFailuresMax);
  EXPECT_LE(failed, daemon::Breaker::kFailuresMax + 8 + kFor / 5);
  EXPECT_GT(kept_away, 5u);
}

TEST(AdmissionCore, AHogIsHeldToItsTokensAMinuteAndTheOthersDoNotNotice) {
  auto run = usual_options(options_of(), 3);
  run.demand = limited_demand(3);
  const auto result = simulate(run);
  const uint32_t hog = static_cast<uint32_t>(run.demand.streams[0].clients.size()) - 1;
  uint64_t tokens = 0;
  uint64_t denied = 0;
  uint64_t asks = 0;
  uint64_t full = 0;
  for (const auto& attempt : result.attempts) {
    if (attempt.arrived_ns == 0) continue;
    const auto& ask = result.asks[attempt.ask];
    if (ask.client == hog) {
      tokens += attempt.prefilled + attempt.generated;
      denied += attempt.reason == daemon::RefusalReason::kClientTokens;
    } else {
      EXPECT_NE(attempt.reason, daemon::RefusalReason::kClientTokens);
      ++asks;
      full += ask.outcome == AskOutcome::kFull;
    }
  }
  const double minutes = run.seconds / 60;
  EXPECT_GT(denied, 100u);
  // A bucket and what flows in, and what the last one takes beyond.
  EXPECT_LE(static_cast<double>(tokens), (minutes + 1) * kHogTokensPerMinute + 3'000);
  EXPECT_GE(static_cast<double>(tokens), 0.7 * minutes * kHogTokensPerMinute);
  EXPECT_GE(full, 0.97 * static_cast<double>(asks));
}

}  // namespace
}  // namespace deepserve::sim
