// The options of `dsctl bench`: what makes no sense is refused by its name.
#include "ctl/bench/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

using ::testing::HasSubstr;

using Change = std::pair<std::string BenchOptions::*, std::string>;

// Of a load of 5 requests/s with these values changed; "none" when they are fine.
std::string complaint(const std::vector<Change>& changes, bool find_capacity = false) {
  BenchOptions options;
  options.rate = std::string("5");
  options.find_capacity = find_capacity;
  for (const auto& [member, value] : changes) options.*member = value;
  const auto settings = check_options(options);
  if (settings) return "none";
  EXPECT_TRUE(settings.error().code == Code::kUsage || settings.error().code == Code::kIo);
  return settings.error().message;
}

TEST(BenchOptions, TheDefaultsAreFineWithALoad) {
  BenchOptions options;
  options.loads = "0.5,1,2,10";
  const auto settings = check_options(options);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->kind, LoadKind::kLoads);
  EXPECT_EQ(settings->points, (std::vector<double>{0.5, 1, 2, 10}));
  EXPECT_FALSE(settings->capacity_per_s) << "it is to be found";
  EXPECT_EQ(settings->duration_ns, 30 * kSecond_ns);
}

TEST(BenchOptions, RatesAreNumbersAboveZero) {
  for (const char* rate : {"0", "-1", "nan", "inf", "5,", "five", "1e9"})
    EXPECT_THAT(complaint({{&BenchOptions::rate, rate}}), HasSubstr("--rate")) << rate;
  EXPECT_THAT(complaint({{&BenchOptions::rate, ""}, {&BenchOptions::loads, "1,0"}}),
              HasSubstr("--loads: \"0\""));
}

TEST(BenchOptions, ExactlyOneKindOfLoadIsAskedFor) {
  EXPECT_THAT(complaint({{&BenchOptions::rate, ""}}), HasSubstr("which load?"));
  EXPECT_THAT(complaint({{&BenchOptions::loads, "1"}}), HasSubstr("only one of"));
  EXPECT_THAT(complaint({}, true), HasSubstr("goes with --loads"));
  EXPECT_THAT(complaint({{&BenchOptions::capacity, "3"}}), HasSubstr("--capacity"));
  EXPECT_THAT(complaint({{&BenchOptions::fixed, "vip"}}), HasSubstr("use --loads"));
  EXPECT_THAT(complaint({{&BenchOptions::rate, ""}, {&BenchOptions::concurrent, "1.5"}}),
              HasSubstr("--concurrent: 1.5"));
}

TEST(BenchOptions, ALoadBelowItsFixedClassIsRefusedBeforeAnythingRuns) {
  EXPECT_THAT(
      complaint({{&BenchOptions::rate, ""}, {&BenchOptions::loads, "1,0.1"}, {&BenchOptions::fixed, "vip"}}),
      HasSubstr("a load of 0.1"));
}

TEST(BenchOptions, EveryOtherValueIsCheckedByName) {
  const auto expect = [](std::string BenchOptions::*member, const char* value, const char* name) {
    EXPECT_THAT(complaint({{member, value}}), HasSubstr(name)) << value;
  };
  expect(&BenchOptions::mix, "vip=0.5", "--mix");
  expect(&BenchOptions::burstiness, "0", "--burstiness");
  expect(&BenchOptions::burstiness, "1000", "--burstiness");
  expect(&BenchOptions::prompt_tokens, "0", "--prompt-tokens");
  expect(&BenchOptions::output_tokens, "uniform:3", "--output-tokens");
  expect(&BenchOptions::ttft, "vip=5", "--ttft");
  expect(&BenchOptions::itl, "fast", "--itl");
  expect(&BenchOptions::duration, "0s", "--duration");
  expect(&BenchOptions::duration, "10", "--duration");
  expect(&BenchOptions::warmup, "-1s", "--warmup");
  expect(&BenchOptions::drain, "", "--drain");
  expect(&BenchOptions::clients, "0", "--clients");
  expect(&BenchOptions::weights, "1,0", "--weights");
  expect(&BenchOptions::connections, "0", "--connections");
  expect(&BenchOptions::connections, "1000000", "--connections");
  expect(&BenchOptions::retries, "maybe", "--retries");
  expect(&BenchOptions::tries, "0", "--tries");
  expect(&BenchOptions::seed, "-1", "--seed");
  expect(&BenchOptions::keys, "/nowhere/keys", "/nowhere/keys");
  expect(&BenchOptions::trace, "/nowhere/trace", "only one of");
}

}  // namespace
}  // namespace deepserve::ctl::bench
