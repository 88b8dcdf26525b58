#include "daemon/supervise/progress_watch.h"

#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using Phase = ProgressWatch::Phase;
constexpr uint64_t kTick_ns = 250 * kMillisecond_ns;

ProgressWatch watch() {
  return {kTick_ns, kSecond_ns, 3 * kSecond_ns};
}

// Ticks on time without any progress until it says hung; how long that took.
uint64_t hung_after_ns(ProgressWatch& watched, Phase phase, uint64_t now_ns, ipc::Progress progress) {
  const uint64_t start_ns = now_ns;
  while (!watched.tick(now_ns, phase, progress).hung) now_ns += kTick_ns;
  return now_ns - start_ns;
}

TEST(ProgressWatch, AServingRunnerIsHungWhenItsStepsStandStill) {
  auto watched = watch();
  EXPECT_TRUE(watched.tick(kSecond_ns, Phase::kServing, {7, 0}).stepped);
  EXPECT_EQ(hung_after_ns(watched, Phase::kServing, kSecond_ns + kTick_ns, {7, 0}), kSecond_ns - kTick_ns);
}

TEST(ProgressWatch, LoadedBytesDoNotExcuseAServingRunner) {
  auto watched = watch();
  uint64_t now_ns = kSecond_ns;
  watched.tick(now_ns, Phase::kServing, {7, 0});
  bool hung = false;
  for (uint64_t i = 1; i <= 4; ++i) hung = watched.tick(now_ns += kTick_ns, Phase::kServing, {7, i}).hung;
  EXPECT_TRUE(hung);
}

TEST(ProgressWatch, ALoadingRunnerIsJudgedByItsBytes) {
  auto watched = watch();
  uint64_t now_ns = kSecond_ns;
  for (uint64_t i = 1; i <= 100; ++i) {
    EXPECT_FALSE(watched.tick(now_ns += kTick_ns, Phase::kLoading, {0, i}).hung);
  }
  EXPECT_EQ(hung_after_ns(watched, Phase::kLoading, now_ns + kTick_ns, {0, 100}), 3 * kSecond_ns - kTick_ns);
}

TEST(ProgressWatch, TimeThatDsdItselfMissedIsNotHeldAgainstTheRunner) {
  auto watched = watch();
  uint64_t now_ns = kSecond_ns;
  watched.tick(now_ns, Phase::kServing, {7, 0});
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(watched.tick(now_ns += 5 * kSecond_ns, Phase::kServing, {7, 0}).hung);
  }
}

TEST(ProgressWatch, AStepStartsTheCountAnew) {
  auto watched = watch();
  uint64_t now_ns = kSecond_ns;
  for (uint64_t steps = 1; steps < 40; ++steps) {
    for (int i = 0; i < 3; ++i)
      EXPECT_FALSE(watched.tick(now_ns += kTick_ns, Phase::kServing, {steps, 0}).hung);
  }
}

}  // namespace
}  // namespace deepserve::daemon
