#include "runner/bench/step_timer.h"

#include <gtest/gtest.h>

#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

class StepTimerOfTheBuiltInModel : public testing::Test {
 protected:
  void SetUp() override {
    BackendOptions options;
    options.batch_tokens_max = 32;
    options.kv_bytes = 1u << 20;
    auto loaded = load_model(BUILTIN_MODEL, options);
    ASSERT_TRUE(loaded) << loaded.error().message;
    model_ = std::move(*loaded);
  }
  LoadedModel model_;
};

TEST_F(StepTimerOfTheBuiltInModel, EachRepeatHasItsDuration) {
  StepTimer timer(*model_.backend);
  const auto prefill = timer.prefill(20, 3);
  ASSERT_TRUE(prefill);
  EXPECT_EQ(prefill->size(), 3u);
  const auto decode = timer.decode(4, 5, 2, 3);
  ASSERT_TRUE(decode);
  EXPECT_EQ(decode->size(), 3u);
  for (const uint64_t duration_ns : *decode) EXPECT_GT(duration_ns, 0u);
}

TEST_F(StepTimerOfTheBuiltInModel, AContextLongerThanAStepIsComputedInSeveral) {
  StepTimer timer(*model_.backend);
  EXPECT_TRUE(timer.decode(2, 70, 1, 1));
}

TEST_F(StepTimerOfTheBuiltInModel, WhatDoesNotFitIsRefusedWithTheSizes) {
  StepTimer timer(*model_.backend);
  const auto step = timer.prefill(33, 1);
  ASSERT_FALSE(step);
  EXPECT_NE(step.error().message.find("33"), std::string::npos) << step.error().message;
  const auto blocks = timer.decode(32, 1000, 1, 1);
  ASSERT_FALSE(blocks);
  EXPECT_EQ(blocks.error().code, Code::kInvalidRequest);
  EXPECT_NE(blocks.error().message.find("KV blocks"), std::string::npos) << blocks.error().message;
  const auto context = timer.decode(1, 1'000'000, 1, 1);
  ASSERT_FALSE(context);
  EXPECT_NE(context.error().message.find("context"), std::string::npos) << context.error().message;
}

}  // namespace
}  // namespace deepserve::runner
