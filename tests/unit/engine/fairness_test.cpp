// Who goes before whom, and that nobody waits for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::Class;

ipc::Submit ask(ipc::RequestId id, uint32_t prompt_tokens, uint32_t tokens, Class service_class) {
  std::vector<TokenId> prompt(prompt_tokens);
  for (uint32_t i = 0; i < prompt_tokens; ++i) prompt[i] = 2 + static_cast<TokenId>((id * 7 + i) % 26);
  auto request = token_request(id, std::move(prompt), tokens);
  request.service_class = service_class;
  return request;
}

// Steps until `id` has had `tokens` tokens; how many steps that took.
uint32_t steps_until(Bench& bench, ipc::RequestId id, size_t tokens) {
  uint32_t steps = 0;
  while (bench.sink[id].choices[0].tokens.size() < tokens) {
    CHECK(bench.engine->has_work() && bench.engine->step().has_value());
    ++steps;
  }
  return steps;
}

TEST(Fairness, AVipPromptIsPrefilledFromTheNextStepOnAsFastAsAlone) {
  const EngineOptions options{.sequences_max = 16, .step_tokens_max = 16};
  Bench idle(hashing_model(-100), {}, options);
  idle.engine->submit(ask(99, 100, 5, Class::kVip));
  const uint32_t alone = steps_until(idle, 99, 1);
  Bench bench(hashing_model(-100), {.blocks = 200}, options);
  for (ipc::RequestId id = 1; id <= 8; ++id) bench.engine->submit(ask(id, 10, 100, Class::kNormal));
  for (ipc::RequestId id = 1; id <= 8; ++id) steps_until(bench, id, 1);
  bench.engine->submit(ask(20, 200, 5, Class::kBatch));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->submit(ask(99, 100, 5, Class::kVip));
  ASSERT_TRUE(bench.engine->step());
  EXPECT_TRUE(bench.sink[99].accepted);
  EXPECT_EQ(bench.backend.last_step.at(0).tokens, 16u);
  EXPECT_LE(1 + steps_until(bench, 99, 1), alone + 1);
  bench.run();
}

TEST(Fairness, LowerClassesGoOnDecodingWhileVipPromptsComeWithoutEnd) {
  Bench bench(hashing_model(-100), {.blocks = 400}, {.sequences_max = 16, .step_tokens_max = 16});
  bench.engine->submit(ask(1, 10, 60, Class::kNormal));
  bench.engine->submit(ask(2, 10, 60, Class::kBatch));
  steps_until(bench, 2, 1);
  for (ipc::RequestId id = 100; !bench.sink[1].finished || !bench.sink[2].finished; ++id) {
    bench.engine->submit(ask(id, 40, 1, Class::kVip));
    for (int step = 0; step < 2; ++step) ASSERT_TRUE(bench.engine->step());
    ASSERT_LT(id, 1000u);
  }
}

TEST(Fairness, AShortPromptDoesNotWaitForALongOneOfItsClass) {
  Bench bench(hashing_model(-100), {.blocks = 200}, {.sequences_max = 8, .step_tokens_max = 16});
  bench.engine->submit(ask(1, 240, 5, Class::kNormal));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->submit(ask(2, 24, 5, Class::kNormal));
  EXPECT_LE(steps_until(bench, 2, 1), 3u);
  EXPECT_TRUE(bench.sink[1].choices[0].tokens.empty());
}

TEST(Fairness, ALongPromptGetsHalfOfEachStepHoweverManyShortOnesCome) {
  Bench bench(hashing_model(-100), {.blocks = 400}, {.sequences_max = 64, .step_tokens_max = 64});
  bench.engine->submit(ask(1, 240, 1, Class::kNormal));
  for (ipc::RequestId id = 2; !bench.sink[1].finished; id += 2) {
    bench.engine->submit(ask(id, 30, 1, Class::kNormal));
    bench.engine->submit(ask(id + 1, 30, 1, Class::kNormal));
    ASSERT_TRUE(bench.engine->step());
    ASSERT_LE(bench.backend.steps, 8u);
  }
  bench.run();
}

TEST(Fairness, ManyLongAnswersOfOneRequestDoNotFreezeANeighbour) {
  Bench bench(hashing_model(-100), {.blocks = 40, .block_tokens = 4}, {.sequences_max = 8});
  auto many = ask(1, 8, 120, Class::kNormal);
  many.generation.choices = 8;
  many.generation.temperature = 1;
  bench.engine->submit(many);
  steps_until(bench, 1, 10);
  bench.engine->submit(ask(2, 8, 40, Class::kNormal));
  const uint32_t first = steps_until(bench, 2, 1);
  EXPECT_LE(first, 40u);
  EXPECT_LE(steps_until(bench, 2, 40), 45u);
  EXPECT_FALSE(bench.sink[1].choices[0].ended);
  bench.run();
  EXPECT_TRUE(bench.sink[1].finished);
}

TEST(Fairness, APoolThatIsTooSmallForAllDoesNotPreemptTheSameOnesOverAndOver) {
  Bench bench(hashing_model(-100), {.blocks = 40, .block_tokens = 4}, {.prefix_cache = false});
  uint64_t needed = 0;
  for (ipc::RequestId id = 1; id <= 12; ++id) {
    bench.engine->submit(ask(id, 16, 80, Class::kNormal));
    needed += 16 + 79;
  }
  bench.run();
  // What is computed twice stays a small part, although half of the answers fit only one beside another.
  EXPECT_LT(bench.backend.tokens_run, needed * 3 / 2);
}

TEST(Fairness, AVipTakesBlocksThatChoicesOfOthersShare) {
  Bench bench(hashing_model(-100), {.blocks = 30, .block_tokens = 4}, {.sequences_max = 10});
  auto normal = ask(1, 60, 20, Class::kNormal);
  normal.generation.choices = 4;
  bench.engine->submit(normal);
  steps_until(bench, 1, 2);
  bench.engine->submit(ask(2, 80, 20, Class::kVip));
  ASSERT_TRUE(bench.engine->step());
  EXPECT_TRUE(bench.sink[2].accepted);
  bench.run();
  EXPECT_TRUE(bench.sink[1].finished);
}

}  // namespace
}  // namespace deepserve::runner::testing
