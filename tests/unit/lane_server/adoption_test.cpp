// A runner between two lives of dsd: it goes on, and the next one hears of everything from the beginning.
#include <gmock/gmock.h>

#include <future>

#include "tests/unit/lane_server/loop_test.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AdoptionTest : public LoopTest {
 protected:
  bool heard_end_of(ipc::RequestId request) {
    return daemon->wait_until([&] { return daemon->finished.contains(request); });
  }
  // The tokens that an undisturbed runner says.
  std::vector<TokenId> undisturbed(const ipc::Submit& submit) {
    FakeBackend own(hashing_model(-100));
    auto fds = ipc::create_lane({}, 1).value();
    DaemonEnd plain(duplicate(fds));
    const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
    LaneSink sink(*lane);
    const auto engine = Engine::make(own, tokenizer, kNoChat, {}, sink).value();
    engine->submit(submit);
    while (engine->has_work()) CHECK(engine->step().has_value());
    lane->flush();
    plain.drain();
    return plain.tokens[submit.request];
  }
};

TEST_F(AdoptionTest, TheNextDaemonHearsOfARequestFromItsFirstTokenOn) {
  auto request = token_request(7, letters("abc"), 200);
  request.opaque = {std::byte{5}};
  const auto expected = undisturbed(request);
  start_adoptable(hashing_model(-100));
  daemon->submit(request);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->tokens[7].size() > 20; }));
  lose_daemon();
  const auto hello = knock().hello;
  EXPECT_EQ(hello.epoch, 1u);
  EXPECT_EQ(hello.process, (ipc::ProcessIdentity{1, 2}));
  EXPECT_THAT(hello.command, ElementsAre("--name", "test"));
  adopt(2);
  ASSERT_TRUE(heard_end_of(7));
  EXPECT_EQ(daemon->states.at(0).phase, ipc::RunnerPhase::kReady);
  EXPECT_EQ(daemon->order.at(1), ipc::MessageType::kAdopted);
  EXPECT_EQ(daemon->order.at(2), ipc::MessageType::kAccepted);
  EXPECT_EQ(daemon->adopted.at(7).encode(), request.encode());
  EXPECT_EQ(daemon->tokens[7], expected);
}

TEST_F(AdoptionTest, WhatEndedMeanwhileIsToldOnceItIsAdoptedAndAgainUntilItIsAcknowledged) {
  start_adoptable(reciting_model(3, letters("hello")));
  daemon->submit(token_request(7, letters("abc"), 100));
  lose_daemon();
  for (uint64_t epoch = 2; epoch < 5; ++epoch) {
    knock();
    adopt(epoch);
    ASSERT_TRUE(heard_end_of(7)) << epoch;
    EXPECT_EQ(daemon->text[7], "hello");
    lose_daemon();
  }
}

TEST_F(AdoptionTest, AnAcknowledgedEndIsKeptForThoseWhoComeBackAndACancelledOneIsNot) {
  start_adoptable(hashing_model(-100));
  daemon->submit(token_request(1, letters("abc"), 5));
  // Both at once: it cannot have ended by itself before it is cancelled.
  daemon->lane->send(ipc::MessageType::kSubmit,
                     token_request(2, letters("abc"), ipc::kRestOfContext).encode());
  daemon->send(ipc::Cancel{2}, ipc::MessageType::kCancel);
  ASSERT_TRUE(heard_end_of(1) && heard_end_of(2));
  daemon->send(ipc::Acknowledge{1}, ipc::MessageType::kAcknowledge);
  daemon->send(ipc::Acknowledge{2}, ipc::MessageType::kAcknowledge);
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(heard_end_of(1));
  EXPECT_EQ(daemon->adopted.size(), 1u);
}

TEST_F(AdoptionTest, WhatRunsIsToldOfBeforeWhatIsOver) {
  start_adoptable(hashing_model(-100));
  constexpr ipc::RequestId kOver = 20, kRuns = kOver + 1;
  for (ipc::RequestId id = 1; id <= kOver; ++id) daemon->submit(token_request(id, letters("abc"), 5));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.size() == kOver; }));
  for (ipc::RequestId id = 1; id <= kOver; ++id) {
    daemon->send(ipc::Acknowledge{id}, ipc::MessageType::kAcknowledge);
  }
  daemon->submit(token_request(kRuns, letters("abc"), ipc::kRestOfContext));
  ASSERT_TRUE(daemon->wait_until([&] { return !daemon->tokens[kRuns].empty(); }));
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.size() >= kOver; }));
  EXPECT_EQ(daemon->adopted_order.front(), kRuns);
  EXPECT_EQ(daemon->adopted.size(), kOver + 1);
}

TEST_F(AdoptionTest, ItIsReadyOnceMoreWhenTheNextDaemonHasHeardOfAll) {
  start_adoptable(hashing_model(-100));
  constexpr ipc::RequestId kOver = 20;
  for (ipc::RequestId id = 1; id <= kOver; ++id) daemon->submit(token_request(id, letters("abc"), 5));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.size() == kOver; }));
  daemon->send(ipc::Acknowledge{3}, ipc::MessageType::kAcknowledge);
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->states.size() == 2; }));
  EXPECT_EQ(daemon->states.at(1).phase, ipc::RunnerPhase::kReady);
  EXPECT_EQ(daemon->adopted.size(), kOver);
  EXPECT_EQ(daemon->finished.size(), kOver);
  EXPECT_EQ(daemon->order.back(), ipc::MessageType::kState);
}

TEST_F(AdoptionTest, WhatADaemonHadSentBeforeItDiedIsDone) {
  std::promise<void> begun, go_on;
  tokenizer.on_encode = [&, first = true](std::string_view) mutable {
    if (!std::exchange(first, false)) return;
    begun.set_value();
    go_on.get_future().wait();
  };
  start_adoptable(hashing_model(-100));
  auto held = token_request(1, {}, 3);
  held.prompt.kind = ipc::PromptKind::kText;
  held.prompt.text = "abc";
  daemon->submit(held);
  begun.get_future().wait();
  daemon->submit(token_request(2, letters("abc"), 3));  // lies unread in the lane
  lose_daemon();
  go_on.set_value();
  knock();
  adopt(2);
  EXPECT_TRUE(heard_end_of(1) && heard_end_of(2));
}

TEST_F(AdoptionTest, AResumedRequestIsToldWithWhatItHadGeneratedElsewhere) {
  auto whole = token_request(7, letters("abc"), 40);
  const auto expected = undisturbed(whole);
  start_adoptable(hashing_model(-100));
  auto resumed = whole;
  resumed.resumed = {{0, {expected.begin(), expected.begin() + 10}}};
  daemon->lane->send(ipc::MessageType::kSubmit, resumed.encode());
  daemon->lane->flush();
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(heard_end_of(7));
  EXPECT_EQ(daemon->tokens[7], expected);
}

TEST_F(AdoptionTest, ADaemonThatKnowsTheResumedTokensDoesNotHearThemAgain) {
  auto whole = token_request(7, letters("abc"), 40);
  const auto expected = undisturbed(whole);
  start_adoptable(hashing_model(-100));
  whole.resumed = {{0, {expected.begin(), expected.begin() + 10}}};
  daemon->tokens[7] = whole.resumed[0].tokens;
  daemon->submit(whole);
  ASSERT_TRUE(heard_end_of(7));  // DaemonEnd checks that indices go on
  EXPECT_EQ(daemon->tokens[7], expected);
}

TEST_F(AdoptionTest, ADaemonHearsTheUnheardTokensAndTheNextOneAllOfThem) {
  auto whole = token_request(7, letters("abc"), 40);
  const auto expected = undisturbed(whole);
  start_adoptable(hashing_model(-100));
  whole.resumed = {{0, {expected.begin(), expected.begin() + 10}, 6}};
  daemon->tokens[7] = {expected.begin(), expected.begin() + 4};
  daemon->submit(whole);
  ASSERT_TRUE(heard_end_of(7));
  EXPECT_EQ(daemon->tokens[7], expected);
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(heard_end_of(7));
  EXPECT_EQ(daemon->tokens[7], expected);
  EXPECT_FALSE(daemon->adopted.at(7).has_unheard());
}

TEST_F(AdoptionTest, WhatCannotBeToldAgainFailsByNameAndEndsInTheEngine) {
  start_adoptable(hashing_model(-100));
  auto request = token_request(7, letters("abc"), ipc::kRestOfContext);
  request.generation.logprobs = 2;
  request.resumed = {{0, letters("xyz")}};
  daemon->lane->send(ipc::MessageType::kSubmit, request.encode());
  daemon->lane->flush();
  lose_daemon();
  knock();
  adopt(2);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->failed.contains(7); }));
  EXPECT_EQ(daemon->failed[7].code, Code::kRunnerLost);
  EXPECT_THAT(daemon->failed[7].message, HasSubstr("daemon ended"));
  EXPECT_TRUE(daemon->wait_until([&] { return daemon->lane->read_gauges().sequences_running == 0; }));
}

TEST_F(AdoptionTest, ADaemonThatDiesDuringTheRendezvousLeavesTheWayToTheNext) {
  start_adoptable(hashing_model(-100));
  daemon->submit(token_request(7, letters("abc"), 20));
  lose_daemon();
  knock();
  supervisor.reset();  // it has heard the hello and sent nothing
  knock();
  adopt(2);
  ASSERT_TRUE(heard_end_of(7));
}

TEST_F(AdoptionTest, ALaneThatIsNoNewerIsNotTaken) {
  start_adoptable(hashing_model(-100));
  lose_daemon();
  knock();
  adopt(1);
  EXPECT_EQ(knock().hello.epoch, 1u);
  adopt(2);
  EXPECT_TRUE(daemon->wait_until([&] { return !daemon->states.empty(); }));
}

TEST_F(AdoptionTest, WithoutADaemonItEndsWhenItsLimitIsOverAndItsWorkIsDone) {
  orphan_limit_ns = 20 * kMillisecond_ns;
  start_adoptable(hashing_model(-100));
  daemon->submit(token_request(7, letters("abc"), 50));
  lose_daemon();
  EXPECT_EQ(join(), LoopEnd::kSupervisorGone);
}

TEST_F(AdoptionTest, AHundredDaemonsLeaveNoDescriptorsBehind) {
  const auto open_fds = [] {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  };
  start_adoptable(hashing_model(-100));
  size_t before = 0;
  for (uint64_t epoch = 2; epoch < 102; ++epoch) {
    lose_daemon();
    knock();
    adopt(epoch);
    ASSERT_TRUE(daemon->wait_until([&] { return !daemon->states.empty(); }));
    if (epoch == 2) before = open_fds();
  }
  EXPECT_EQ(open_fds(), before);
}

}  // namespace
}  // namespace deepserve::runner::testing
