// What the brownout ladder does to requests.
#include <gtest/gtest.h>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;
constexpr uint64_t kStart_ns = 1000 * kSecond_ns;

// One runner of two seats, at first with one VIP in it that never gets its first token.
class StuckHost : public testing::Test {
 protected:
  StuckHost() : admission_(AdmissionOptions{}) {
    RunnerUp up;
    up.capacity.sequences_max = 2;
    tell(up);
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    tell(told);
    arrive(1, Class::kVip);
    EXPECT_EQ(dispatched_, std::vector<ipc::RequestId>{1});
  }
  template <typename Event>
  void tell(const Event& event) {
    AdmissionActions actions;
    admission_.step(event, now_ns_, actions);
    for (const auto& action : actions) {
      if (const auto* dispatch = std::get_if<Dispatch>(&action)) {
        dispatched_.push_back(dispatch->request);
        tokens_max_ = dispatch->tokens_max;
      } else if (const auto* refusal = std::get_if<Refuse>(&action)) {
        refusals_.push_back(*refusal);
      } else {
        levels_.push_back(std::get<BrownoutChanged>(action).level);
      }
    }
  }
  void arrive(ipc::RequestId id, Class service_class) {
    Arrived event;
    event.request = id;
    event.service_class = service_class;
    event.client = "a";
    event.prompt_bytes = 40;
    event.tokens_max = 1'000;
    event.body_hash = id;
    event.deadline_ns = service_class == Class::kVip ? 0 : now_ns_ + 3600 * kSecond_ns;
    tell(event);
  }
  // Each second a request that cannot be in time is refused: it sheds.
  void pass(int seconds, bool shedding = true) {
    for (int i = 0; i < 20 * seconds; ++i) {
      now_ns_ += Tick::kInterval_ns;
      if (shedding && i % 10 == 0) {
        Arrived hopeless;
        hopeless.request = ++hopeless_;
        hopeless.client = "b";
        hopeless.prompt_bytes = 4'000'000;
        hopeless.deadline_ns = now_ns_ + kMillisecond_ns;
        tell(hopeless);
      }
      tell(Tick{});
    }
  }

  Admission admission_;
  uint64_t now_ns_ = kStart_ns;
  ipc::RequestId hopeless_ = 1'000'000;
  std::vector<ipc::RequestId> dispatched_;
  std::vector<Refuse> refusals_;
  std::vector<BrownoutLevel> levels_;
  uint32_t tokens_max_ = 0;
};

TEST_F(StuckHost, LateVipWorkBesideSheddingClimbsTheLadder) {
  pass(6);
  EXPECT_EQ(levels_,
            (std::vector{BrownoutLevel::kPauseBatch, BrownoutLevel::kCapTokens, BrownoutLevel::kVipOnly}));
}

TEST_F(StuckHost, WithoutSheddingNothingIsGivenUp) {
  pass(10, false);
  EXPECT_TRUE(levels_.empty());
}

TEST_F(StuckHost, PausedBatchWaitsAndSaysSo) {
  pass(2);
  ASSERT_EQ(admission_.brownout(), BrownoutLevel::kPauseBatch);
  arrive(2, Class::kBatch);
  EXPECT_EQ(admission_.view(2)->waits_for, WaitReason::kBrownout);
  arrive(3, Class::kNormal);
  EXPECT_EQ(dispatched_.back(), 3u);
}

TEST_F(StuckHost, AnswersBelowVipAreCut) {
  pass(3);
  ASSERT_EQ(admission_.brownout(), BrownoutLevel::kCapTokens);
  arrive(2, Class::kNormal);
  ASSERT_EQ(dispatched_.back(), 2u);
  EXPECT_EQ(tokens_max_, BrownoutLadder::kTokensMax);
  tell(Ended{2, EndKind::kFinished, 256});
  arrive(3, Class::kVip);
  ASSERT_EQ(dispatched_.back(), 3u);
  EXPECT_EQ(tokens_max_, 1'000u);
}

TEST_F(StuckHost, AtLastNothingButVipIsServed) {
  pass(5);
  ASSERT_EQ(admission_.brownout(), BrownoutLevel::kVipOnly);
  refusals_.clear();
  arrive(2, Class::kNormal);
  ASSERT_EQ(refusals_.size(), 1u);
  EXPECT_EQ(refusals_[0].reason, RefusalReason::kBrownout);
  arrive(3, Class::kVip);
  EXPECT_EQ(dispatched_.back(), 3u);
}

TEST_F(StuckHost, OnceVipWorkIsInTimeAgainTheLadderIsLeftStepByStep) {
  pass(6);
  tell(FirstToken{1});
  levels_.clear();
  pass(16);
  EXPECT_EQ(levels_,
            (std::vector{BrownoutLevel::kCapTokens, BrownoutLevel::kPauseBatch, BrownoutLevel::kNone}));
}

}  // namespace
}  // namespace deepserve::daemon
