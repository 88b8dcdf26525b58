#include "daemon/admission/throughput.h"

#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kTick_ns = kSecond_ns / 10;

// `ticks` of a tenth of a second, in each of which so much is done.
void run(Throughput& throughput, uint64_t& now_ns, int ticks, double done) {
  for (int i = 0; i < ticks; ++i) {
    throughput.done(done);
    now_ns += kTick_ns;
    throughput.set_waits(true, now_ns);
  }
}

TEST(Throughput, BeginsWithAFullBatchAndComesToWhatIsDone) {
  Throughput throughput;
  EXPECT_DOUBLE_EQ(throughput.per_runner(1), 1.0);
  uint64_t now_ns = kSecond_ns;
  throughput.set_waits(true, now_ns);
  run(throughput, now_ns, 1'000, 0.06);
  EXPECT_NEAR(throughput.per_runner(1), 0.6, 0.06);
  EXPECT_NEAR(throughput.per_runner(2), 0.3, 0.08);
  run(throughput, now_ns, 1'000, 0.09);
  EXPECT_NEAR(throughput.per_runner(1), 0.9, 0.06);
}

TEST(Throughput, AnIdleRunnerSaysNothingOfWhatItCouldDo) {
  Throughput throughput;
  uint64_t now_ns = kSecond_ns;
  throughput.set_waits(true, now_ns);
  run(throughput, now_ns, 1'000, 0.06);
  const double before = throughput.per_runner(1);
  throughput.set_waits(false, now_ns);
  for (int i = 0; i < 1'000; ++i) {
    throughput.done(0.001);
    now_ns += kTick_ns;
    throughput.set_waits(false, now_ns);
  }
  EXPECT_DOUBLE_EQ(throughput.per_runner(1), before);
}

}  // namespace
}  // namespace deepserve::daemon
