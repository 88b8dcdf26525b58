// What is sent when: mixes, arrivals, lengths, traces and schedules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ctl/bench/schedule.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

using ::testing::HasSubstr;

constexpr double kSecond = static_cast<double>(kSecond_ns);

std::string complaint_about_mix(const std::string& shares, const std::string& fixed = "") {
  const auto mix = ClassMix::parse(shares, fixed);
  return mix ? "none" : fmt::format("{}: {}", error_row(mix.error().code).name, mix.error().message);
}

TEST(ClassMix, SharesDivideTheLoad) {
  const auto mix = ClassMix::parse("vip=0.3,normal=0.6,batch=0.1", "");
  ASSERT_TRUE(mix);
  const auto rates = mix->rates_per_s(10, 2);
  ASSERT_TRUE(rates);
  EXPECT_DOUBLE_EQ((*rates)[0], 6);
  EXPECT_DOUBLE_EQ((*rates)[1], 12);
  EXPECT_DOUBLE_EQ((*rates)[2], 2);
}

TEST(ClassMix, AFixedClassKeepsItsShareOfTheCapacityWhileTheRestScales) {
  const auto mix = ClassMix::parse("vip=0.3,normal=0.6,batch=0.1", "vip");
  ASSERT_TRUE(mix);
  for (const double load : {0.5, 1.0, 10.0}) {
    const auto rates = mix->rates_per_s(10, load);
    ASSERT_TRUE(rates);
    EXPECT_DOUBLE_EQ((*rates)[0], 3) << load;
    EXPECT_NEAR((*rates)[0] + (*rates)[1] + (*rates)[2], 10 * load, 1e-9) << load;
    EXPECT_NEAR((*rates)[1], 6 * (*rates)[2], 1e-9) << load;
  }
}

TEST(ClassMix, AtALoadOfItsShareTheFixedClassIsAlone) {
  const auto rates = ClassMix::parse("vip=0.3,normal=0.6,batch=0.1", "vip")->rates_per_s(10, 0.3);
  ASSERT_TRUE(rates);
  EXPECT_NEAR((*rates)[0], 3, 1e-9);
  EXPECT_EQ((*rates)[1] + (*rates)[2], 0);
}

TEST(ClassMix, ALoadBelowTheFixedClassIsRefused) {
  const auto rates = ClassMix::parse("vip=0.3,normal=0.7", "vip")->rates_per_s(10, 0.2);
  ASSERT_FALSE(rates);
  EXPECT_THAT(rates.error().message, HasSubstr("a load of 0.2"));
}

TEST(ClassMix, WhatIsWrongIsNamed) {
  EXPECT_THAT(complaint_about_mix("vip=0.3,normal=0.6"), HasSubstr("sum to 0.9"));
  EXPECT_THAT(complaint_about_mix("vip=0.5,vip=0.5"), HasSubstr("vip comes twice"));
  EXPECT_THAT(complaint_about_mix("vip=1.5,normal=-0.5"), HasSubstr("\"-0.5\" is no number above 0"));
  EXPECT_THAT(complaint_about_mix("vip=nan,normal=0.5"), HasSubstr("nan"));
  EXPECT_THAT(complaint_about_mix("king=1"), HasSubstr("there is no class \"king\""));
  EXPECT_THAT(complaint_about_mix("vip"), HasSubstr("no CLASS=SHARE"));
  EXPECT_THAT(complaint_about_mix("", ""), HasSubstr("usage"));
  EXPECT_THAT(complaint_about_mix("vip=0.3,normal=0.7", "batch"), HasSubstr("batch has no share"));
  EXPECT_THAT(complaint_about_mix("vip=1", "vip"), HasSubstr("nothing is left to scale"));
}

TEST(ClassMix, AUniformPointGivesTheMix) {
  const auto mix = ClassMix::parse("vip=0.25,batch=0.75", "");
  EXPECT_EQ(mix->class_at(0), ServiceClass::kVip);
  EXPECT_EQ(mix->class_at(0.2499), ServiceClass::kVip);
  EXPECT_EQ(mix->class_at(0.2501), ServiceClass::kBatch);
  EXPECT_EQ(mix->class_at(std::nextafter(1.0, 0.0)), ServiceClass::kBatch);
}

struct GapMoments {
  double mean_s = 0;
  double cv = 0;
};

GapMoments moments_of(Arrivals arrivals, int count) {
  double sum = 0, squares = 0;
  uint64_t before_ns = 0;
  for (int i = 0; i < count; ++i) {
    const uint64_t at_ns = arrivals.next_ns();
    EXPECT_GE(at_ns, before_ns);
    const double gap_s = static_cast<double>(at_ns - before_ns) / kSecond;
    sum += gap_s;
    squares += gap_s * gap_s;
    before_ns = at_ns;
  }
  const double mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean) / mean};
}

TEST(Arrivals, GapsHaveTheMeanAndTheBurstinessAskedFor) {
  for (const double cv : {0.5, 1.0, 4.0}) {
    const GapMoments moments = moments_of(Arrivals(50, cv, 7), 200'000);
    EXPECT_NEAR(moments.mean_s, 0.02, 0.001) << cv;
    EXPECT_NEAR(moments.cv, cv, 0.05 * cv) << cv;
  }
}

TEST(Arrivals, TheSameSeedGivesTheSameInstantsAndAnotherDoesNot) {
  Arrivals one(10, 1, 3), same(10, 1, 3), other(10, 1, 4);
  const uint64_t first = one.next_ns();
  EXPECT_EQ(first, same.next_ns());
  EXPECT_NE(first, other.next_ns());
}

TEST(Lengths, EveryFormIsDrawnFrom) {
  std::mt19937_64 generator(1);
  EXPECT_EQ(Lengths::parse("x", "128")->draw(generator), 128u);
  EXPECT_EQ(Lengths::parse("x", "fixed:7")->draw(generator), 7u);
  const auto uniform = Lengths::parse("x", "uniform:3:5");
  double sum = 0;
  for (int i = 0; i < 3000; ++i) {
    const uint32_t length = uniform->draw(generator);
    ASSERT_GE(length, 3u);
    ASSERT_LE(length, 5u);
    sum += length;
  }
  EXPECT_NEAR(sum / 3000, uniform->mean(), 0.1);
}

TEST(Lengths, ALognormalHasItsMeanAndStaysBelowItsMaximum) {
  std::mt19937_64 generator(1);
  const auto lengths = Lengths::parse("x", "lognormal:200:0.8");
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) sum += lengths->draw(generator);
  EXPECT_NEAR(sum / 100'000, 200, 6);
  const auto cut = Lengths::parse("x", "lognormal:200:3:250");
  for (int i = 0; i < 1000; ++i) ASSERT_LE(cut->draw(generator), 250u);
}

TEST(Lengths, WhatIsWrongIsNamed) {
  for (const char* text : {"0", "-1", "1.5", "", "fixed:", "uniform:5", "uniform:5:4", "uniform:0:4",
                           "lognormal:0:1", "lognormal:5:-1", "lognormal:5:1:0", "zipf:1:2", "9999999"}) {
    const auto lengths = Lengths::parse("--prompt-tokens", text);
    ASSERT_FALSE(lengths) << text;
    EXPECT_EQ(lengths.error().code, Code::kUsage) << text;
    EXPECT_THAT(lengths.error().message, HasSubstr("--prompt-tokens")) << text;
  }
}

TEST(Trace, RowsAreSortedByTimeAndAClassIsNormalUnlessNamed) {
  const auto rows = parse_trace("t", R"({"at_ms": 20.5, "prompt_tokens": 3, "max_tokens": 4, "class": "vip"}

{"at_ms": 0, "prompt_tokens": 1, "max_tokens": 2})");
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].at_ns, 0u);
  EXPECT_EQ((*rows)[0].service_class, ServiceClass::kNormal);
  EXPECT_EQ((*rows)[1].at_ns, 20'500'000u);
  EXPECT_EQ((*rows)[1].service_class, ServiceClass::kVip);
  EXPECT_EQ((*rows)[1].max_tokens, 4u);
}

TEST(Trace, AnUnreadableLineIsNamedWithItsNumber) {
  constexpr std::string_view kGood = R"({"at_ms": 1, "prompt_tokens": 1, "max_tokens": 1})";
  for (const char* bad : {"{", "[]", "{}", R"({"at_ms": -1, "prompt_tokens": 1, "max_tokens": 1})",
                          R"({"at_ms": 1e300, "prompt_tokens": 1, "max_tokens": 1})",
                          R"({"at_ms": 1, "prompt_tokens": 0, "max_tokens": 1})",
                          R"({"at_ms": 1, "prompt_tokens": 1, "max_tokens": 1.5})",
                          R"({"at_ms": 1, "prompt_tokens": 1, "max_tokens": 1, "class": "king"})",
                          R"({"at_ms": 1, "prompt_tokens": 1, "max_tokens": 1, "colour": 2})",
                          R"({"at_ms": "1", "prompt_tokens": 1, "max_tokens": 1})"}) {
    const auto rows = parse_trace("load.jsonl", fmt::format("{}\n\n{}\n", kGood, bad));
    ASSERT_FALSE(rows) << bad;
    EXPECT_THAT(rows.error().message, HasSubstr("load.jsonl: line 3: ")) << bad;
  }
  EXPECT_FALSE(parse_trace("empty", "\n\n"));
}

Workload workload(uint32_t clients = 1) {
  return {*Lengths::parse("p", "10"), *Lengths::parse("o", "5"), clients};
}

TEST(RateSchedule, AClassAsksForTheSameWhateverTheOthersDo) {
  RateSchedule alone({3, 0, 0}, 1, workload(4), 100 * kSecond_ns, 9);
  RateSchedule crowded({3, 60, 5}, 1, workload(4), 100 * kSecond_ns, 9);
  for (; crowded.next_at_ns();) {
    const Planned among = crowded.take();
    if (among.service_class != ServiceClass::kVip) continue;
    ASSERT_TRUE(alone.next_at_ns());
    const Planned planned = alone.take();
    EXPECT_EQ(planned.at_ns, among.at_ns);
    EXPECT_EQ(planned.client, among.client);
    EXPECT_EQ(planned.prompt_tokens, among.prompt_tokens);
    EXPECT_EQ(planned.max_tokens, among.max_tokens);
  }
  EXPECT_FALSE(alone.next_at_ns());
}

TEST(RateSchedule, EachClassComesAtItsRateInOrderUntilTheEnd) {
  RateSchedule schedule({30, 60, 0}, 1, workload(4), 100 * kSecond_ns, 9);
  PerClass<int> counts{};
  uint64_t before_ns = 0;
  while (const auto at_ns = schedule.next_at_ns()) {
    const Planned planned = schedule.take();
    EXPECT_EQ(planned.at_ns, *at_ns);
    EXPECT_GE(planned.at_ns, before_ns);
    EXPECT_LT(planned.client, 4u);
    before_ns = planned.at_ns;
    ++counts[index_of(planned.service_class)];
  }
  EXPECT_LT(before_ns, 100 * kSecond_ns);
  EXPECT_NEAR(counts[0], 3000, 200);
  EXPECT_NEAR(counts[1], 6000, 300);
  EXPECT_EQ(counts[2], 0);
}

TEST(TraceSchedule, GivesTheRowsBeforeItsEnd) {
  const auto rows = *parse_trace("t", R"({"at_ms": 1, "prompt_tokens": 3, "max_tokens": 4}
{"at_ms": 5, "prompt_tokens": 3, "max_tokens": 4})");
  TraceSchedule schedule(rows, 1, 5 * kMillisecond_ns, 1);
  EXPECT_EQ(schedule.next_at_ns(), kMillisecond_ns);
  EXPECT_EQ(schedule.take().max_tokens, 4u);
  EXPECT_FALSE(schedule.next_at_ns());
}

TEST(ClosedSchedule, AClientAsksAgainOnlyWhenItIsFree) {
  ClosedSchedule schedule(*ClassMix::parse("vip=0.5,batch=0.5", ""), workload(2), 10 * kSecond_ns, 1);
  const Planned first = schedule.take();
  const Planned second = schedule.take();
  EXPECT_EQ(first.service_class, ServiceClass::kVip);
  EXPECT_EQ(second.service_class, ServiceClass::kBatch);
  EXPECT_FALSE(schedule.next_at_ns());
  schedule.ended(second, 3 * kSecond_ns);
  EXPECT_EQ(schedule.next_at_ns(), 3 * kSecond_ns);
  EXPECT_EQ(schedule.take().client, second.client);
  schedule.ended(first, 10 * kSecond_ns);
  EXPECT_FALSE(schedule.next_at_ns()) << "the run is over by then";
}

}  // namespace
}  // namespace deepserve::ctl::bench
