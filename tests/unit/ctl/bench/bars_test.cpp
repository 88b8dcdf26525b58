// What a bench's figures are held to.
#include "ctl/bench/bars.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr uint64_t kMs = kMillisecond_ns;

class BarsTest : public ::testing::Test {
 protected:
  BarsTest() {
    settings_.kind = LoadKind::kLoads;
    settings_.generator.shape.slo = *Slo::parse("vip=500ms,normal=1s", "200ms");
  }

  Tally& point(double load, std::vector<double> weights = {}) {
    const Tally tally(settings_.slo(), {0, 10 * kSecond_ns}, std::move(weights));
    report_.points.push_back({.value = load, .result = {.tally = tally}});
    return report_.points.back().result.tally;
  }
  static void answer(Tally& tally, ServiceClass service_class, uint64_t ttft_ns, uint32_t client = 0,
                     uint32_t tokens = 10, End end = End::kFull) {
    Outcome outcome;
    outcome.planned = {.at_ns = kSecond_ns, .service_class = service_class, .client = client};
    outcome.end = end;
    Try& one = outcome.last;
    one.intended_ns = kSecond_ns;
    one.first_token_ns = kSecond_ns + ttft_ns;
    one.last_token_ns = one.end_ns = one.first_token_ns + (tokens - 1) * 40 * kMs;
    one.text_events = one.completion_tokens = tokens;
    one.prompt_tokens = 30;
    one.status = 200;
    tally.text_events(outcome.planned, 40 * kMs, 1);
    tally.ended(outcome);
  }
  // The bars whose name holds `what`.
  std::vector<Bar> bars(std::string_view what) const {
    std::vector<Bar> found;
    for (const Bar& bar : bars_of(settings_, report_)) {
      if (bar.what.find(what) != std::string::npos) found.push_back(bar);
    }
    return found;
  }

  Settings settings_;
  Report report_;
};

TEST_F(BarsTest, VipIsHeldToWhatItHasAloneOrAloneAndAStep) {
  report_.points.reserve(3);
  answer(point(0.3), ServiceClass::kVip, 100 * kMs);
  Tally& loaded = point(10);
  answer(loaded, ServiceClass::kVip, 135 * kMs);
  answer(loaded, ServiceClass::kNormal, 10 * kMs);
  const auto found = bars("vip p99 TTFT");
  ASSERT_THAT(found, SizeIs(1)) << "of the point where vip has company";
  EXPECT_NEAR(found[0].value, 135, 2);
  EXPECT_NEAR(found[0].bound, 140, 2) << "1.3 x 100 is less than 100 and a step of 40";
  EXPECT_TRUE(found[0].passes());
  EXPECT_THAT(found[0].what, HasSubstr("a step 4"));
  answer(loaded, ServiceClass::kVip, 200 * kMs);
  EXPECT_FALSE(bars("vip p99 TTFT")[0].passes());
}

TEST_F(BarsTest, GoodputIsHeldToThatOfALoadOfOne) {
  report_.points.reserve(2);
  Tally& once = point(1);
  for (int i = 0; i < 20; ++i) answer(once, ServiceClass::kNormal, kMs);
  Tally& ten_times = point(10);
  for (int i = 0; i < 18; ++i) answer(ten_times, ServiceClass::kNormal, kMs);
  ASSERT_THAT(bars("goodput"), SizeIs(1));
  EXPECT_NEAR(bars("goodput")[0].value, 0.9, 1e-9);
  EXPECT_FALSE(bars("goodput")[0].passes());
}

TEST_F(BarsTest, WorkForAnswersThatCameTooLateOrBrokeIsWasted) {
  Tally& tally = point(2);
  for (int i = 0; i < 97; ++i) answer(tally, ServiceClass::kNormal, kMs);
  answer(tally, ServiceClass::kNormal, 2 * kSecond_ns);
  answer(tally, ServiceClass::kNormal, kMs, 0, 10, End::kDegraded);
  const auto found = bars("failed or missed");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_NEAR(found[0].value, 1.0 / 99, 1e-9);
}

TEST_F(BarsTest, ATicketsHolderMayWaitASecondOrATenthOfWhatHeWasTold) {
  EXPECT_EQ(Honesty::bound_ns(3 * kSecond_ns), kSecond_ns);
  EXPECT_EQ(Honesty::bound_ns(30 * kSecond_ns), 3 * kSecond_ns);
  Honesty& honesty = point(10).honesty();
  honesty.ticketed_back = honesty.ticketed_served = 1;
  honesty.ticket_error.record(2 * kSecond_ns);
  honesty.ticket_error_part.record(2 * kSecond_ns);
  const auto found = bars("ticket error p90");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_FALSE(found[0].passes());
  EXPECT_THAT(found[0].what, HasSubstr("20"));
}

TEST_F(BarsTest, ThePercentilesOfAFewRefusalsAreHeldToNothing) {
  Tally& tally = point(1);
  Try refused;
  refused.sent_ns = kSecond_ns;
  refused.end_ns = kSecond_ns + 2 * kMs;
  refused.reason = "deadline";
  for (int i = 0; i < 99; ++i) tally.refused({.at_ns = kSecond_ns}, refused);
  EXPECT_THAT(bars("p99 of a refusal"), SizeIs(0));
  tally.refused({.at_ns = kSecond_ns}, refused);
  ASSERT_THAT(bars("p99 of a refusal"), SizeIs(1));
  EXPECT_FALSE(bars("p99 of a refusal")[0].passes());
}

TEST_F(BarsTest, BackloggedClientsAreHeldToTheirWeights) {
  Tally& tally = point(10, {1, 3});
  for (uint32_t client = 0; client < 2; ++client) {
    const Planned planned{.service_class = ServiceClass::kNormal, .client = client};
    tally.wants(planned, 0);
    answer(tally, ServiceClass::kNormal, kMs, client, client == 0 ? 35 : 135);
    tally.wants_no_more(planned, 20 * kSecond_ns);
  }
  answer(tally, ServiceClass::kNormal, kMs, 2, 500);  // got all that it asked for
  ASSERT_THAT(bars("Jain"), SizeIs(1));
  EXPECT_DOUBLE_EQ(bars("Jain")[0].value, 1) << "30 and 2 x 35, 30 and 2 x 135: 100 to 300";
  EXPECT_THAT(bars("Jain")[0].what, HasSubstr("(without 0.800; 1 answers each)"));
}

}  // namespace
}  // namespace deepserve::ctl::bench
