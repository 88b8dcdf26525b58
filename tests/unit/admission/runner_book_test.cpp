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

// Prefill beside one decode, and beside two: each step has so many times what prefill alone takes.
constexpr double kBesideOne = 1 + 0.020 / (0.020 / 1.1);
constexpr double kBesideTwo = 1 + 0.030 / ((1 / 1.1 - 0.02) * 0.030);
// Where two prefill beside one: they fill the step up to step_target, 25 ms.
constexpr double kTwoBesideOne = 1 + 0.020 / 0.025;

// Prefills 1000 tokens a second; a step takes 10 ms and 10 ms a sequence.
RunnerBook runner(uint32_t sequences_max, uint32_t kv_blocks = 0) {
  RunnerBook book;
  RunnerUp up;
  up.capacity.sequences_max = sequences_max;
  up.capacity.kv_blocks = kv_blocks;
  book.up(up);
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
  // The first one decodes beside it, once it has started.
  const double stretch = (1 + kBesideOne) / 2;
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 2000), 0), 3.0 * stretch + step_s, 1e-9);
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 2000), kSecond_ns / 2), 2.5 * stretch + step_s, 1e-9);
}

TEST(RunnerBook, WhatLowerPrefillsGotDoneBeforeVipsCameIsNotTheVips) {
  auto book = runner(64);
  const auto normal = load(Class::kNormal, 1000);
  book.add(normal, 0);
  const auto vips = {load(Class::kVip, 100), load(Class::kVip, 90)};
  for (const auto& one : vips) book.add(one, kSecond_ns / 2);
  const double start_s = book.start_seconds(load(Class::kVip, 110), kSecond_ns / 2);
  EXPECT_GT(start_s, 0.3) << "the two before it and its own prompt";
  EXPECT_NEAR(book.start_seconds(load(Class::kVip, 110), kSecond_ns / 2 + kSecond_ns / 10), start_s * 2 / 3,
              0.1 * start_s)
      << "a tenth of a second later a third of it is done";
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
  EXPECT_NEAR(book.start_seconds(load(Class::kNormal, 3000), 0), step_s + 5.0 * (1 + kBesideOne) / 2, 1e-9);
}

TEST(RunnerBook, PrefillBesideDecodesGetsOnAtLessThanHalfItsPace) {
  auto book = runner(8);
  const auto first = load(Class::kNormal, 1000);
  book.add(first, 0);
  const auto wanted = load(Class::kNormal, 2000);
  const double steps_alone_s = 0.5 * book.service_time().step_seconds(1, 0);
  EXPECT_NEAR(book.start_seconds(wanted, kSecond_ns / 2), steps_alone_s + 2.5 * (1 + kBesideOne) / 2, 1e-9);
  const auto other = decoding(Class::kNormal, 100);
  book.add(other, 0);
  const double step_s = 0.5 * book.service_time().step_seconds(2, book.context_tokens());
  const double left_s = 3.0 - 0.5 / RunnerBook::kBesideDecodes;
  const double stretch = (kTwoBesideOne + kBesideTwo) / 2;
  EXPECT_NEAR(book.start_seconds(wanted, kSecond_ns / 2), step_s + stretch * left_s, 1e-9);
}

TEST(RunnerBook, AVipBesideAnotherHasTheTimeOfTheLowerOnesThatSitOutForIt) {
  auto book = runner(64);
  const auto vip = decoding(Class::kVip);
  book.add(vip, 0);
  const double beside_vip_s = book.start_seconds(load(Class::kVip), 0);
  const auto normal = decoding(Class::kNormal);
  for (int i = 0; i < 3; ++i) book.add(normal, 0);
  // Of a step of 50 ms the other vip takes 20.
  const double step_s = 0.5 * book.service_time().step_seconds(4, 0);
  EXPECT_NEAR(book.start_seconds(load(Class::kVip), 0), step_s + 0.1 * (1 + 0.020 / (0.020 / 1.1 + 0.030)),
              1e-9);
  EXPECT_GT(beside_vip_s, 0.2);
  for (int i = 0; i < 30; ++i) book.add(normal, 0);
  const double full_s = 0.5 * book.service_time().step_seconds(34, 0);
  EXPECT_NEAR(book.start_seconds(load(Class::kVip), 0), full_s + 0.1 * (1 + 0.020 / (0.020 / 1.1 + 0.080)),
              1e-9)
      << "a step has no time for more of them";
}

TEST(RunnerBook, AShortPromptThatCanWaitDoesNotMakeALongOneLate) {
  auto book = runner(64);
  auto lengthy = load(Class::kNormal, 2000);
  lengthy.deadline_ns = 5 * kSecond_ns / 2;
  book.add(lengthy, 0);
  auto brief = load(Class::kNormal, 50);
  brief.deadline_ns = 5 * kSecond_ns;
  EXPECT_FALSE(book.holds_up(brief, 0));  // there is time for both
  brief.prompt_tokens = brief.uncached_tokens = 600;
  EXPECT_TRUE(book.holds_up(brief, 0));
  brief.deadline_ns = 2 * kSecond_ns;
  EXPECT_FALSE(book.holds_up(brief, 0));  // it could not wait
  EXPECT_FALSE(book.holds_up(load(Class::kVip, 600), 0));
}

TEST(RunnerBook, WhatWasPrefilledOfALongPromptIsRememberedWhenAShortOneIsDone) {
  auto book = runner(64);
  const auto lengthy = load(Class::kNormal, 2000);
  auto brief = load(Class::kNormal, 100);
  book.add(lengthy, 0);
  book.add(brief, 0);
  const auto next = load(Class::kNormal, 3000);
  auto fresh = runner(64);
  fresh.add(lengthy, 0);
  const double unbegun_s = fresh.start_seconds(next, 0);
  book.prefilled(brief, 11 * kSecond_ns / 10);  // half of which went to prefill, at least
  book.remove(brief);
  const double left = (5.0 - 0.4) / 5.0;  // 0.5 s less what the short one took of them
  EXPECT_NEAR(book.start_seconds(next, 11 * kSecond_ns / 10), left * unbegun_s, 0.01);
}

TEST(RunnerBook, PrefillsOfItsClassAndHigherOnesAreAhead) {
  auto book = runner(64);
  const auto one = load(Class::kNormal);
  book.add(one, 0);
  EXPECT_TRUE(book.prefills_ahead(load(Class::kBatch)));
  EXPECT_TRUE(book.prefills_ahead(load(Class::kNormal)));
  EXPECT_FALSE(book.prefills_ahead(load(Class::kVip)));
}

}  // namespace
}  // namespace deepserve::daemon
