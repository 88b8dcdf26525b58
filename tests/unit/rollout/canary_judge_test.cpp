// A canary judged in a simulated stream of requests, over 1,000 seeds: how often an equal one is rolled back,
// and how soon a worse one is.
#include "daemon/rollout/canary_judge.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

namespace deepserve::daemon {
namespace {

constexpr uint32_t kSeeds = 1'000;
constexpr double kPerSecond = 20;  // requests

// How a generation answers.
struct Model {
  double ttft_times = 1;
  double itl_times = 1;
  double failing = 0;
  bool is_nan = false;  // every answer fails
};

// One stream: prompts of very different lengths, load that comes and goes, classes and cached prompts mixed.
struct Stream {
  explicit Stream(uint32_t seed) : random(seed) {}

  CanarySample request(const Model& model, bool of_canary) {
    CanarySample sample;
    now_s -= std::log(1 - uniform(random)) / kPerSecond;
    sample.at_ns = static_cast<uint64_t>(now_s * 1e9);
    sample.of_canary = of_canary;
    sample.service_class = static_cast<ipc::Class>(random() % 3);
    sample.cached = random() % 3 == 0;
    load = 0.995 * load + 0.1 * normal(random);
    const double host = std::exp(0.3 * load);
    sample.failed = model.is_nan || uniform(random) < model.failing;
    if (model.is_nan) return sample;
    const double prompt = (sample.cached ? 0.2 : 1.0) * std::exp(0.5 * normal(random));
    sample.ttft_s = 0.2 * host * prompt * model.ttft_times;
    sample.itl_s = 0.02 * host * std::exp(0.15 * normal(random)) * model.itl_times;
    return sample;
  }
  // Until the verdict: how many requests the canary had. `rolled_back`: and what it was.
  uint32_t judge(const Model& live, const Model& canary, double percent, bool& rolled_back) {
    CanaryJudge judge;
    while (judge.verdict() == CanaryJudge::Verdict::kOpen) {
      const bool of_canary = uniform(random) * 100 < percent;
      judge.add(request(of_canary ? canary : live, of_canary));
    }
    rolled_back = judge.verdict() == CanaryJudge::Verdict::kWorse;
    return judge.requests();
  }

  std::mt19937 random;
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  double load = 0;
  double now_s = 1;
};

struct Tally {
  uint32_t rolled_back = 0;
  uint32_t most_requests = 0;
  double mean_requests = 0;
};

Tally over_seeds(const char* what, const Model& live, const Model& canary, double percent) {
  Tally tally;
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    bool rolled_back = false;
    const uint32_t requests = Stream(seed).judge(live, canary, percent, rolled_back);
    tally.rolled_back += rolled_back ? 1 : 0;
    tally.most_requests = std::max(tally.most_requests, requests);
    tally.mean_requests += static_cast<double>(requests) / kSeeds;
  }
  printf(
      "%-28s at %2.0f %%: %4u of %u seeds rolled back, after %.0f canary requests on average, %u at most\n",
      what, percent, tally.rolled_back, kSeeds, tally.mean_requests, tally.most_requests);
  return tally;
}

TEST(CanaryJudge, AnEqualOneIsPromotedButForOneInAHundredAtMost) {
  for (const double percent : {5.0, 10.0, 50.0}) {
    EXPECT_LE(over_seeds("equal", {}, {}, percent).rolled_back, kSeeds / 100);
    EXPECT_LE(
        over_seeds("equal, both failing 5 %", {.failing = 0.05}, {.failing = 0.05}, percent).rolled_back,
        kSeeds / 100);
  }
}

TEST(CanaryJudge, AFasterOneIsPromoted) {
  EXPECT_EQ(over_seeds("ttft and itl x0.8", {}, {.ttft_times = 0.8, .itl_times = 0.8}, 10).rolled_back, 0u);
}

TEST(CanaryJudge, AWorseOneIsRolledBackWithinTwoHundredOfItsRequests) {
  const auto at_ten = [](const char* what, const Model& canary, double live_failing = 0) {
    const auto tally = over_seeds(what, {.failing = live_failing}, canary, 10);
    EXPECT_LE(tally.most_requests, CanaryJudge::kRequests);
    return tally.rolled_back;
  };
  EXPECT_GE(at_ten("ttft x1.5", {.ttft_times = 1.5}), kSeeds * 99 / 100);
  EXPECT_GE(at_ten("itl x1.5", {.itl_times = 1.5}), kSeeds * 99 / 100);
  EXPECT_GE(at_ten("failing 5 %, live never", {.failing = 0.05}), kSeeds * 98 / 100);
  EXPECT_GE(at_ten("failing 5 %, live 0.2 %", {.failing = 0.05}, 0.002), kSeeds * 95 / 100);
  EXPECT_EQ(at_ten("every answer NaN", {.is_nan = true}), kSeeds);
}

TEST(CanaryJudge, AHostThatSlowsDownForBothIsNoNews) {
  CanaryJudge judge;
  for (int i = 0; judge.verdict() == CanaryJudge::Verdict::kOpen; ++i) {
    CanarySample sample;
    sample.at_ns = 1 + static_cast<uint64_t>(i) * 50'000'000;
    sample.of_canary = i % 10 == 9;
    sample.ttft_s = 0.1 * (1 + i / 500) * (1 + 0.01 * (i * 7 % 13));
    judge.add(sample);
  }
  EXPECT_EQ(judge.verdict(), CanaryJudge::Verdict::kAsGood) << judge.evidence();
}

// A small model answers within milliseconds, and a busy host lets one process wait for longer than that.
TEST(CanaryJudge, AProcessThatTheHostLetsWaitNowAndThenIsNoSlowerThanTheOther) {
  uint32_t rolled_back = 0;
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    std::mt19937 random(seed);
    std::exponential_distribution<double> exponential;
    CanaryJudge judge;
    std::array<double, 2> waits_until_s = {};  // of the live one, of the canary
    std::array<double, 2> runs_until_s = {};
    for (double now_s = 1; judge.verdict() == CanaryJudge::Verdict::kOpen; now_s += 0.0025) {
      for (size_t i = 0; i < 2; ++i) {
        if (now_s < runs_until_s[i]) continue;
        waits_until_s[i] = now_s + 0.05 * exponential(random);
        runs_until_s[i] = waits_until_s[i] + 0.2 * exponential(random);
      }
      const size_t whose = random() % 2;
      const bool waits = now_s < waits_until_s[whose];
      CanarySample sample{.at_ns = static_cast<uint64_t>(now_s * 1e9), .of_canary = whose == 1};
      sample.ttft_s = 0.002 * (waits ? 4 : 1) * (1 + 0.2 * exponential(random));
      judge.add(sample);
    }
    rolled_back += judge.verdict() == CanaryJudge::Verdict::kWorse ? 1 : 0;
  }
  printf("equal, each standing still now and then: %u of %u seeds rolled back\n", rolled_back, kSeeds);
  EXPECT_LE(rolled_back, kSeeds / 100);
}

TEST(CanaryJudge, EvidenceSaysWhatWasSeen) {
  CanaryJudge judge;
  for (int i = 0; i < 9; ++i) judge.add({.ttft_s = 0.1});
  judge.add({.of_canary = true, .failed = true});
  EXPECT_NE(judge.evidence().find("1 of its 1 requests failed against 0 of 9"), std::string::npos)
      << judge.evidence();
}

}  // namespace
}  // namespace deepserve::daemon
