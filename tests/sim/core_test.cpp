// The daemon's admission core in the simulator: short runs of what admission_sim measures at length, with
// the invariants of simulation.h checked at each step. Bounds are a little wider than the figures' bars.
#include <gtest/gtest.h>

#include <algorithm>

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
  run.demand = backlogged_demand(25);
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

}  // namespace
}  // namespace deepserve::sim
