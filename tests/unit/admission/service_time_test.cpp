#include "daemon/admission/service_time.h"

#include <gtest/gtest.h>

#include <limits>

namespace deepserve::daemon {
namespace {

RunnerCapacity capacity() {
  RunnerCapacity capacity;
  capacity.sequences_max = 64;
  capacity.kv_blocks = 4096;
  capacity.kv_block_tokens = 16;
  return capacity;
}

ipc::Gauges gauges() {
  ipc::Gauges gauges;
  gauges.prefill_tokens_per_second = 1000;
  gauges.step_fixed_seconds = 0.020;
  gauges.step_per_sequence_seconds = 0.001;
  gauges.step_per_context_token_seconds = 1e-6;
  return gauges;
}

TEST(ServiceTime, AFullBatchOfEqualRequestsCostsWhatItsStepsTake) {
  ServiceTime time(capacity());
  time.set(gauges());
  const double batch = time.full_batch();
  EXPECT_GT(batch, 10);
  const double cost = time.cost({500, 500, 100, 1});
  const double steps_s = 100 * time.step_seconds(batch, batch * 550) / batch;
  EXPECT_NEAR(cost, 0.5 + steps_s, 0.01);
}

TEST(ServiceTime, WhatIsCachedIsNotPaidFor) {
  ServiceTime time(capacity());
  time.set(gauges());
  EXPECT_NEAR(time.cost({500, 500, 10, 1}) - time.cost({500, 100, 10, 1}), 0.4, 1e-9);
}

TEST(ServiceTime, AHolderOfMuchMemoryPaysForThat) {
  auto small = capacity();
  small.kv_blocks = 64;  // 1024 tokens
  ServiceTime time(small);
  time.set(gauges());
  // Half of all memory for a hundred steps: half of the time that these take.
  EXPECT_GT(time.cost({500, 10, 100, 1}), 0.49 * 100 * time.step_seconds(time.full_batch(), 1000));
}

TEST(ServiceTime, TheBatchIsAsLargeAsStepMaxAllows) {
  ServiceTime time(capacity());
  time.set(gauges());
  EXPECT_EQ(time.batch_within_step_max(0), 64u);
  EXPECT_EQ(time.batch_within_step_max(4000), 16u);
  auto quick_steps = capacity();
  quick_steps.step_max_s = 0.01;
  ServiceTime slow(quick_steps);
  slow.set(gauges());
  EXPECT_EQ(slow.batch_within_step_max(0), 1u);
}

TEST(ServiceTime, FiguresThatCannotBeCountAsUnknown) {
  ServiceTime time(capacity());
  ipc::Gauges lies;
  lies.prefill_tokens_per_second = -1;
  lies.step_fixed_seconds = std::numeric_limits<double>::quiet_NaN();
  lies.step_per_sequence_seconds = std::numeric_limits<double>::infinity();
  time.set(lies);
  EXPECT_FALSE(time.known());
  EXPECT_EQ(time.step_seconds(10, 1000), 0);
  EXPECT_GT(time.cost({100, 100, 100, 1}), 0);
}

}  // namespace
}  // namespace deepserve::daemon
