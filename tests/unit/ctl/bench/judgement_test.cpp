// What is made of the answers: histograms, the SLO, the tally, retries, the search, the plot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "ctl/bench/capacity_search.h"
#include "ctl/bench/retry_rule.h"
#include "ctl/bench/svg_plot.h"
#include "ctl/bench/tally.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMs = kMillisecond_ns;

TEST(Histogram, PercentilesAreExactToOnePercentOverNineDecades) {
  std::mt19937_64 generator(5);
  std::lognormal_distribution<double> drawn(12, 4);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<uint64_t>(drawn(generator)));
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double part : {0.001, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<size_t>(std::ceil(part * 20'000)) - 1;
    const auto exact = static_cast<double>(values[rank]);
    EXPECT_NEAR(static_cast<double>(histogram.percentile_ns(part)), exact, 0.01 * exact + 1) << part;
  }
  EXPECT_EQ(histogram.percentile_ns(1), values.back());
  EXPECT_EQ(histogram.max_ns(), values.back());
}

TEST(Histogram, FewValuesGiveTheNearestRank) {
  Histogram histogram;
  EXPECT_EQ(histogram.percentile_ns(0.5), 0u);
  for (const uint64_t value : {10, 20, 30}) histogram.record(value);
  EXPECT_EQ(histogram.percentile_ns(0), 10u);
  EXPECT_EQ(histogram.percentile_ns(0.5), 20u);
  EXPECT_EQ(histogram.percentile_ns(0.99), 30u);
}

TEST(Histogram, AddingIsAsIfAllHadBeenRecordedInOne) {
  Histogram one, other, both;
  for (uint64_t i = 1; i < 1000; ++i) {
    (i % 3 == 0 ? one : other).record(i * i);
    both.record(i * i);
  }
  one.add(other);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_DOUBLE_EQ(one.mean_ns(), both.mean_ns());
  for (const double part : {0.1, 0.5, 0.99}) EXPECT_EQ(one.percentile_ns(part), both.percentile_ns(part));
}

// A vip's answer of `tokens` tokens: due at `at`, its first token `ttft` later, then one each `itl`.
Outcome answered(uint64_t at_ns, uint64_t ttft, uint64_t itl, uint32_t tokens, End end = End::kFull) {
  Outcome outcome;
  outcome.planned = {.at_ns = at_ns, .service_class = ServiceClass::kVip};
  Try& one = outcome.last;
  one.intended_ns = at_ns;
  one.first_token_ns = at_ns + ttft;
  one.last_token_ns = one.first_token_ns + (tokens - 1) * itl;
  one.end_ns = one.last_token_ns;
  one.text_events = one.completion_tokens = tokens;
  one.status = 200;
  outcome.end = end;
  return outcome;
}

TEST(Slo, NamesWhatItCannotRead) {
  EXPECT_TRUE(Slo::parse("", "200ms"));
  EXPECT_EQ(Slo::parse("vip=1.5s", "200ms")->ttft_ns[0], 1500 * kMs);
  EXPECT_EQ(Slo::parse("vip=1.5s", "200ms")->ttft_ns[1], 5000 * kMs) << "the daemon's default";
  for (const char* ttft : {"vip", "vip=0s", "vip=5", "vip=-1s", "king=1s", "vip=1s,vip=2s", "vip=2000000s"}) {
    const auto slo = Slo::parse(ttft, "200ms");
    ASSERT_FALSE(slo) << ttft;
    EXPECT_EQ(slo.error().code, Code::kUsage) << ttft;
  }
  EXPECT_THAT(Slo::parse("", "0ms").error().message, HasSubstr("--itl"));
}

TEST(Slo, JudgesTheFirstTokenAndThePaceOfFullAnswersOnly) {
  const Slo slo = *Slo::parse("vip=100ms", "20ms");
  EXPECT_TRUE(slo.is_met_by(answered(0, 100 * kMs, 20 * kMs, 10)));
  EXPECT_FALSE(slo.is_met_by(answered(0, 101 * kMs, 20 * kMs, 10)));
  EXPECT_FALSE(slo.is_met_by(answered(0, 100 * kMs, 21 * kMs, 10)));
  EXPECT_TRUE(slo.is_met_by(answered(0, 100 * kMs, 500 * kMs, 1))) << "one token has no pace";
  EXPECT_FALSE(slo.is_met_by(answered(0, kMs, kMs, 10, End::kDegraded)));
  EXPECT_FALSE(slo.is_met_by(answered(0, kMs, kMs, 10, End::kUnfinished)));
}

TEST(Slo, TokensThatCameTogetherCountForThePace) {
  Outcome outcome = answered(0, kMs, 100 * kMs, 5);
  outcome.last.completion_tokens = 41;  // ten a piece, as speculation gives them
  EXPECT_EQ(tpot_ns(outcome.last), 10 * kMs);
}

TEST(Slo, NobodyReadsABatchAnswerAlong) {
  Outcome outcome = answered(0, kMs, 100 * kMs, 5);
  const Slo slo = *Slo::parse("", "20ms");
  EXPECT_FALSE(slo.is_met_by(outcome));
  outcome.planned.service_class = ServiceClass::kBatch;
  EXPECT_TRUE(slo.is_met_by(outcome));
}

class TallyTest : public ::testing::Test {
 protected:
  Tally tally_{*Slo::parse("vip=100ms", "20ms"), {1000 * kMs, 2000 * kMs}};
  const ClassTally& vip() const { return tally_.of(ServiceClass::kVip); }
};

TEST_F(TallyTest, CountsWhatWasDueInsideTheWindow) {
  tally_.ended(answered(999 * kMs, 10 * kMs, kMs, 2));
  tally_.ended(answered(1000 * kMs, 10 * kMs, kMs, 2));
  tally_.ended(answered(2000 * kMs, 10 * kMs, kMs, 2));
  EXPECT_EQ(vip().arrived, 1u);
  EXPECT_EQ(vip().within_slo, 1u);
  EXPECT_EQ(vip().ttft.count(), 1u);
}

TEST_F(TallyTest, GoodputCountsWhatEndedInsideTheWindowWheneverItWasDue) {
  tally_.ended(answered(995 * kMs, 10 * kMs, kMs, 2));
  tally_.ended(answered(1500 * kMs, 10 * kMs, kMs, 2));
  tally_.ended(answered(1990 * kMs, 20 * kMs, kMs, 2));
  EXPECT_DOUBLE_EQ(tally_.goodput_per_s(), 2);
  EXPECT_EQ(vip().good_tokens_in_window, 4u);
}

TEST_F(TallyTest, WhatIsNotFullAndInTimeIsMissedButStillArrived) {
  for (size_t i = 0; i < static_cast<size_t>(End::kCount); ++i)
    tally_.ended(answered(1000 * kMs, 10 * kMs, kMs, 2, static_cast<End>(i)));
  EXPECT_EQ(vip().arrived, static_cast<uint64_t>(End::kCount));
  EXPECT_EQ(tally_.missed(), static_cast<uint64_t>(End::kCount) - 1);
  EXPECT_EQ(vip().ended_as(End::kDegraded), 1u);
  EXPECT_EQ(vip().ttft.count(), 2u) << "latencies are of answers, full or degraded";
}

TEST_F(TallyTest, AfterRetriesTheWaitCountsFromTheFirstTry) {
  Outcome outcome = answered(1000 * kMs, 0, kMs, 2);
  outcome.last = answered(5000 * kMs, 50 * kMs, kMs, 2).last;
  tally_.ended(outcome);
  EXPECT_NEAR(static_cast<double>(vip().ttft.max_ns()), 50.0 * kMs, kMs);
  EXPECT_NEAR(static_cast<double>(vip().wait.max_ns()), 4050.0 * kMs, 40.0 * kMs);
  EXPECT_EQ(vip().within_slo, 1u);
}

TEST_F(TallyTest, AServerThatNamesEverNewReasonsDoesNotFillTheMemory) {
  Try one;
  for (int i = 0; i < 1000; ++i) {
    one.reason = fmt::format("reason {}", i);
    tally_.refused({.at_ns = 1000 * kMs}, one);
  }
  const ClassTally& normal = tally_.of(ServiceClass::kNormal);
  EXPECT_LE(normal.refusals.size(), 33u);
  EXPECT_EQ(normal.refused_tries(), 1000u);
}

TEST_F(TallyTest, JainsIndexIsOneForEqualClientsAndOneNthWhenOneGetsAll) {
  for (uint32_t client = 0; client < 4; ++client) {
    Outcome outcome = answered(1000 * kMs, kMs, kMs, 8);
    if (client != 0) outcome.last.completion_tokens = 0;
    outcome.planned.client = client;
    tally_.ended(outcome);
  }
  EXPECT_EQ(tally_.clients(), 4u);
  EXPECT_DOUBLE_EQ(tally_.jain_index(), 0.25);
  for (uint32_t client = 1; client < 4; ++client) {
    Outcome outcome = answered(1000 * kMs, kMs, kMs, 8);
    outcome.planned.client = client;
    tally_.ended(outcome);
  }
  EXPECT_DOUBLE_EQ(tally_.jain_index(), 1);
}

TEST_F(TallyTest, AClientIsBackloggedWhileAnythingOfItsHasNoFirstToken) {
  const auto planned = [](uint32_t client) {
    return Planned{.at_ns = 500 * kMs, .service_class = ServiceClass::kVip, .client = client};
  };
  const auto served = [&](uint32_t client) {
    Outcome outcome = answered(500 * kMs, 700 * kMs, kMs, 8);
    outcome.planned.client = client;
    tally_.ended(outcome);
  };
  for (uint32_t client = 0; client < 3; ++client) {
    tally_.wants(planned(client), 500 * kMs);
    served(client);
    tally_.wants_no_more(planned(client), 1500 * kMs);
  }
  tally_.wants(planned(0), 1520 * kMs);  // wants next to nothing for 20 ms
  tally_.wants_no_more(planned(0), 2500 * kMs);
  tally_.wants(planned(1), 1700 * kMs);  // for a fifth of the window
  tally_.wants_no_more(planned(1), 2500 * kMs);
  EXPECT_EQ(tally_.fairness(ServiceClass::kVip).clients, 1u);
  EXPECT_DOUBLE_EQ(tally_.fairness(ServiceClass::kVip).answers_each, 1);
}

TEST_F(TallyTest, EverySecondSaysWhatEndedInIt) {
  tally_.ended(answered(1900 * kMs, 150 * kMs, kMs, 2));
  tally_.ended(answered(1500 * kMs, 50 * kMs, kMs, 2));
  Try one;
  one.end_ns = 1700 * kMs;
  tally_.refused({.at_ns = 1600 * kMs}, one);
  ASSERT_EQ(tally_.seconds().size(), 2u) << "the late answer was no good one";
  EXPECT_EQ(tally_.seconds()[1].arrived, 2u);
  EXPECT_EQ(tally_.seconds()[1].good, 1u);
  EXPECT_EQ(tally_.seconds()[1].refused_tries, 1u);
}

TEST_F(TallyTest, EventsThatCameTogetherHaveNoGapBetweenThem) {
  const Planned planned{.at_ns = 1000 * kMs, .service_class = ServiceClass::kVip};
  tally_.text_events(planned, 30 * kMs, 3);
  EXPECT_EQ(vip().itl.count(), 3u);
  EXPECT_EQ(vip().itl.percentile_ns(0.5), 0u);
  EXPECT_EQ(vip().itl.max_ns(), 30 * kMs);
}

TEST(RetryRule, ObeyComesBackExactlyWhenToldAndNeverWithoutBeingTold) {
  EXPECT_EQ(retry_wait_ns(Retries::kObey, 1, 5, 1500), 1500 * kMs);
  EXPECT_EQ(retry_wait_ns(Retries::kObey, 1, 5, std::nullopt), std::nullopt);
  EXPECT_EQ(retry_wait_ns(Retries::kObey, 1, 5, UINT64_MAX), std::nullopt);
}

TEST(RetryRule, IgnoreComesBackEarlyAndEverLess) {
  EXPECT_EQ(retry_wait_ns(Retries::kIgnore, 1, 9, 60'000), 200 * kMs);
  EXPECT_EQ(retry_wait_ns(Retries::kIgnore, 2, 9, std::nullopt), 400 * kMs);
}

TEST(RetryRule, TriesAreBounded) {
  EXPECT_TRUE(retry_wait_ns(Retries::kObey, 2, 3, 1));
  EXPECT_FALSE(retry_wait_ns(Retries::kObey, 3, 3, 1));
  EXPECT_FALSE(retry_wait_ns(Retries::kNone, 1, 3, 1));
  EXPECT_FALSE(retries_named("sometimes"));
}

// One vip answer every 100 ms for 10 s, each with the TTFT that `ttft_ms` gives for its instant in seconds.
Tally probe_with(const std::function<double(double)>& ttft_ms) {
  Tally tally(*Slo::parse("vip=5s", "20ms"), {0, 10 * kSecond_ns});
  for (uint64_t at_ns = 0; at_ns < 10 * kSecond_ns; at_ns += 100 * kMs) {
    const double ttft = ttft_ms(static_cast<double>(at_ns) / static_cast<double>(kSecond_ns));
    tally.ended(answered(at_ns, static_cast<uint64_t>(ttft * static_cast<double>(kMs)), kMs, 2));
  }
  return tally;
}

TEST(CapacitySearch, ABacklogThatGrowsIsNotSustainedThoughEveryAnswerIsStillInTime) {
  EXPECT_TRUE(is_sustained(probe_with([](double) { return 300; })));
  EXPECT_TRUE(is_sustained(probe_with([](double at_s) { return 300 + 20 * at_s; })));
  EXPECT_FALSE(is_sustained(probe_with([](double at_s) { return 20 + 200 * at_s; })));
  EXPECT_FALSE(is_sustained(probe_with([](double at_s) { return at_s < 0.15 ? 5001 : 300; }))) << "2 % late";
  EXPECT_FALSE(is_sustained(Tally(Slo(), {0, kSecond_ns}))) << "nothing came";
}

// Probes a server that sustains exactly up to `truth`.
double found(double first, double truth, unsigned* probes = nullptr) {
  CapacitySearch search(first);
  while (const auto rate = search.next_rate_per_s()) search.tell(*rate <= truth);
  if (probes) *probes = search.probes();
  return search.capacity_per_s();
}

TEST(CapacitySearch, FindsTheCapacityFromBelowAndFromAbove) {
  for (const double truth : {0.3, 5.0, 77.0, 4321.0}) {
    for (const double start : {0.2 * truth, truth, 30 * truth}) {
      unsigned probes = 0;
      const double capacity = found(start, truth, &probes);
      EXPECT_LE(capacity, truth);
      EXPECT_GE(capacity * CapacitySearch::kPrecision, truth) << truth << " from " << start;
      EXPECT_LE(probes, CapacitySearch::kProbes_max);
    }
  }
}

TEST(CapacitySearch, EndsWhenNothingIsSustainedAndWhenEverythingIs) {
  EXPECT_EQ(found(1, 0), 0);
  EXPECT_EQ(found(1000, 1e18), CapacitySearch::kRate_max_per_s);
}

TEST(SvgPlot, DrawsWhatWasMeasuredAndNothingElse) {
  const std::string svg = svg_of("load", {0.5, 1, 10}, {{"goodput", {{"vip", {1, 2, -1}}}}});
  EXPECT_THAT(svg, HasSubstr("<svg xmlns"));
  EXPECT_THAT(svg, HasSubstr(">goodput<"));
  EXPECT_EQ(std::count(svg.begin(), svg.end(), '\n') > 0, true);
  size_t circles = 0;
  for (size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++circles;
  EXPECT_EQ(circles, 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace deepserve::ctl::bench
