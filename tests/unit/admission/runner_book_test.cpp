#include "daemon/admission/runner_book.h"

#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;

RequestLoad load(Class service_class, uint32_t prompt = 100, uint32_t expected = 50) {
  RequestLoad load;
  load.service_class = service_class;
  load.prompt_tokens = load.uncached_tokens = prompt;
  load.expected_tokens = expected;
  return load;
}

RequestLoad decoding(Class service_class, uint32_t prompt = 100, uint32_t expected = 50) {
  auto one = load(service_class, prompt, expected);
  one.prefilled = true;
  return one;
}

// Prefills 1000 tokens a second; a step takes 10 ms and 10 ms a sequence.
RunnerBook runner(uint32_t sequences_max, uint32_t kv_blocks = 0) {
  RunnerBook book;
  RunnerUp up;
  up.capacity.sequences_max = sequences_max;
  up.capacity.kv_blocks = kv_blocks;
  book.up(up, 0.1);
  RunnerTold told;
  told.gauges.prefill_tokens_per_second = 1000;
  told.gauges.step_fixed_seconds = 0.01;
  told.gauges.step_per_sequence_seconds = 0.01;
  book.told(told);
  return book;
}

TEST(RunnerBook, VipTakesSeatsThatLowerClassesHave) {
  auto book = runner(2);
  const auto a = decoding(Class::kNormal);
  const auto b = decoding(Class::kVip);
  book.add(a, 0);
  EXPECT_TRUE(book.has_seats(load(Class::kNormal), false));
  book.add(b, 0);
  EXPECT_FALSE(book.has_seats(load(Class::kNormal), false));
  EXPECT_TRUE(book.has_seats(load(Class::kVip), false));
  const auto c = decoding(Class::kVip);
  book.add(c, 0);
  EXPECT_FALSE(book.has_seats(load(Class::kVip), false));
}

TEST(RunnerBook, ARequestOfMoreChoicesThanSeatsWaitsForAnEmptyRunner) {
  auto book = runner(2);
  auto many = load(Class::kNormal);
  many.choices = 5;
  EXPECT_TRUE(book.has_seats(many, false));
  const auto one = decoding(Class::kNormal);
  book.add(one, 0);
  EXPECT_FALSE(book.has_seats(many, false));
}

TEST(RunnerBook, WithVipAboutTheBatchStaysWithinStepMax) {
  auto book = runner(64);
  std::vector<RequestLoad> loads(9, decoding(Class::kNormal));
  for (const auto& one : loads) book.add(one, 0);
  EXPECT_TRUE(book.has_seats(load(Class::kNormal), false));
  EXPECT_FALSE(book.has_seats(load(Class::kNormal), true));
  EXPECT_TRUE(book.has_seats(load(Class::kVip), true));
}

TEST(RunnerBook, LowerWorkIsBoundLateAndALongPromptDoesNotHoldUpShortOnes) {
  auto book = runner(64);
  const auto lengthy = load(Class::kNormal, 5000);
  book.add(lengthy, 0);
  EXPECT_TRUE(book.may_bind(load(Class::kNormal, 20), 0));
  const auto second = load(Class::kNormal, 120);
  book.add(second, 0);
  EXPECT_FALSE(book.may_bind(load(Class::kNormal, 20), 0));
  EXPECT_TRUE(book.may_bind(load(Class::kVip, 20), 0));
}

TEST(RunnerBook, MemoryForTheFuturePeakMustBeThereAndHeadroomIsLeft) {
  auto book = runner(64, 100);  // 1600 tokens
  const auto one = decoding(Class::kNormal, 600, 200);
  book.add(one, 0);
  EXPECT_TRUE(book.has_memory(load(Class::kNormal, 500, 100), 0.10));
  EXPECT_FALSE(book.has_memory(load(Class::kNormal, 500, 100), 0.30));
  EXPECT_FALSE(book.has_memory(load(Class::kNormal, 900, 100), 0.02));
  EXPECT_TRUE(book.has_memory(load(Class::kVip, 900, 100), 0.02));
}

TEST(RunnerBook, AnythingFitsAnEmptyRunner) {
  auto book = runner(1, 4);
  EXPECT_TRUE(book.has_memory(load(Class::kBatch, 100'000, 1000), 0.25));
}

TEST(RunnerBook, AVipStartIsNotHeldUpByLowerPrefills) {
  auto book = runner(64);
  EXPECT_NEAR(book.start_seconds(load(Class::kVip, 100), 0), 0.1, 1e-9);
  const auto normal = load(Class::kNormal, 1000);
  book.add(normal, 0);
  const double step_s = 0.5 * 0.02;
  EXPECT_NEAR(book.start_seconds(load(Class::kVip, 100), 0), 0.1 + step_s, 1e-9);
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 2000), 0), 3.0 + step_s, 1e-9);
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 2000), kSecond_ns / 2), 2.5 + step_s, 1e-9);
}

TEST(RunnerBook, PrefillsOfLowerClassesKeepNobodyFromARunner) {
  auto book = runner(8);
  const auto documents = {load(Class::kBatch, 2000), load(Class::kBatch, 2000)};
  for (const auto& one : documents) book.add(one, 0);
  EXPECT_TRUE(book.may_bind(load(Class::kNormal), 0));
  EXPECT_FALSE(book.may_bind(load(Class::kBatch), 0));
}

TEST(RunnerBook, ALongerPrefillCostsAShortOneItsOwnTimeAgainAndAShorterOneAllOfIts) {
  auto book = runner(8);
  const double alone_s = book.start_seconds(load(Class::kNormal, 100), 0);
  const auto document = load(Class::kNormal, 2000);
  book.add(document, 0);
  const double step_s = 0.5 * book.service_time().step_seconds(1, 0);
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 100), 0), step_s + 2 * alone_s, 1e-9);
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 3000), 0), step_s + 2.0 + 3.0, 1e-9);
}

TEST(RunnerBook, PrefillBesideDecodesGetsOnAtLessThanHalfItsPace) {
  auto book = runner(8);
  const auto first = load(Class::kNormal, 1000);
  book.add(first, 0);
  const auto wanted = load(Class::kNormal, 2000);
  const double steps_alone_s = 0.5 * book.service_time().step_seconds(1, 0);
  EXPECT_NEAR(book.start_seconds(wanted, kSecond_ns / 2), steps_alone_s + 2.5, 1e-9);
  const auto other = decoding(Class::kNormal, 100);
  book.add(other, 0);
  const double step_s = 0.5 * book.service_time().step_seconds(2, book.context_tokens());
  const double left_s = 3.0 - 0.5 / RunnerBook::kBesideDecodes;
  EXPECT_NEAR(book.start_seconds(wanted, kSecond_ns / 2), step_s + RunnerBook::kBesideDecodes * left_s, 1e-9);
}

}  // namespace
}  // namespace deepserve::daemon
