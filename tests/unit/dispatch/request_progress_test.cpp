#include "daemon/dispatch/request_progress.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

ipc::Generation choices(uint16_t count) {
  ipc::Generation generation;
  generation.choices = count;
  return generation;
}

ipc::Delta delta(uint16_t choice, uint32_t index, std::vector<ipc::TokenId> tokens) {
  ipc::Delta event;
  event.request = 1;
  event.choice = choice;
  event.index = index;
  event.tokens = std::move(tokens);
  return event;
}

Heard hear(RequestProgress& progress, ipc::Delta event) {
  return progress.on_delta(event);
}

ipc::Finished finished(uint16_t choice, bool last) {
  ipc::Finished event;
  event.request = 1;
  event.choice = choice;
  event.last = last;
  return event;
}

RequestProgress accepted(uint16_t count = 1) {
  RequestProgress progress(choices(count));
  EXPECT_EQ(progress.on_accepted({1, 10, 2}), Heard::kNews);
  return progress;
}

TEST(RequestProgress, TokensAreToldOnceAndInOrder) {
  auto progress = accepted();
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kRepeat);
  EXPECT_EQ(hear(progress, delta(0, 2, {7})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 1, {6, 7})), Heard::kRepeat);
  EXPECT_EQ(progress.generated_tokens(), 3u);
}

TEST(RequestProgress, AGapAHalfRepeatAndAnUnknownChoiceAreLies) {
  auto progress = accepted();
  EXPECT_EQ(hear(progress, delta(0, 1, {5})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(1, 0, {5})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(0, 0, {5})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(0, 0xffffffff, {5, 6})), Heard::kLie);
}

TEST(RequestProgress, ADeltaBeforeAcceptanceIsALie) {
  RequestProgress progress(choices(1));
  EXPECT_EQ(hear(progress, delta(0, 0, {1})), Heard::kLie);
}

TEST(RequestProgress, AReplayGoesOnAfterTheTokensThatWereTold) {
  auto progress = accepted(2);
  EXPECT_EQ(hear(progress, delta(1, 0, {8, 9})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody));
  const auto resumed = progress.resumed();
  ASSERT_EQ(resumed.size(), 1u);
  EXPECT_EQ(resumed[0].choice, 1);
  EXPECT_EQ(resumed[0].tokens, (std::vector<ipc::TokenId>{8, 9}));
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kRepeat);
  EXPECT_EQ(hear(progress, delta(1, 2, {10})), Heard::kNews);
}

TEST(RequestProgress, AChoiceThatHadEndedBeforeTheReplayEndsOnlyOnce) {
  auto progress = accepted(2);
  EXPECT_EQ(hear(progress, delta(0, 0, {4})), Heard::kNews);
  auto first = finished(0, false);
  EXPECT_EQ(progress.on_finished(first), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody));
  EXPECT_EQ(hear(progress, delta(1, 0, {4})), Heard::kNews);
  auto second = finished(1, false);
  EXPECT_EQ(progress.on_finished(second), Heard::kNews);
  EXPECT_TRUE(second.last);
  EXPECT_EQ(second.usage.prompt_tokens, 10u);
  EXPECT_EQ(second.usage.completion_tokens, 2u);
  auto repeat = finished(0, true);
  EXPECT_EQ(progress.on_finished(repeat), Heard::kRepeat);
}

TEST(RequestProgress, EchoedTextIsToldOnceAlsoWhenTheReplayCutsItElsewhere) {
  auto progress = accepted();
  auto echo = delta(0, 0, {});
  echo.text = "Once upon";
  EXPECT_EQ(progress.on_delta(echo), Heard::kNews);
  EXPECT_EQ(echo.text, "Once upon");
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody));
  echo.text = "Once ";
  EXPECT_EQ(progress.on_delta(echo), Heard::kRepeat);
  echo.text = "upon a time";
  EXPECT_EQ(progress.on_delta(echo), Heard::kNews);
  EXPECT_EQ(echo.text, " a time");
  EXPECT_EQ(hear(progress, delta(0, 0, {5})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody));
  auto held_back = delta(0, 1, {});
  held_back.text = "tail";
  EXPECT_EQ(progress.on_delta(held_back), Heard::kNews);
}

TEST(RequestProgress, ALastThatIsNotTheLastIsALie) {
  auto progress = accepted(2);
  auto early = finished(0, true);
  EXPECT_EQ(progress.on_finished(early), Heard::kLie);
}

TEST(RequestProgress, OutsideKillsBlameNobodyButTheSecondCrashEndsIt) {
  auto progress = accepted();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(progress.on_runner_died(Blame::kNobody));
  EXPECT_TRUE(progress.on_runner_died(Blame::kRunner));
  EXPECT_FALSE(progress.on_runner_died(Blame::kRunner));
}

TEST(RequestProgress, EvenInnocentReplaysAreBounded) {
  auto progress = accepted();
  for (uint32_t i = 0; i < RequestProgress::kReplaysMax; ++i)
    EXPECT_TRUE(progress.on_runner_died(Blame::kNobody));
  EXPECT_FALSE(progress.on_runner_died(Blame::kNobody));
}

}  // namespace
}  // namespace deepserve::daemon
