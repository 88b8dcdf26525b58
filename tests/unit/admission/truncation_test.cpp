// How much of a long prompt is served to a client that agreed to less.
#include <gtest/gtest.h>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;
constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

// One runner of four seats and 4,096 tokens of context: 1000 tokens of prompt a second.
class PromptPart : public testing::Test {
 protected:
  PromptPart() : admission_(options()) {
    RunnerUp up;
    up.capacity.sequences_max = 4;
    up.capacity.context_tokens = 4'096;
    tell(up);
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    tell(told);
  }
  static AdmissionOptions options() {
    AdmissionOptions options;
    options.brownout.truncate = true;
    return options;
  }
  template <typename Event>
  void tell(const Event& event) {
    AdmissionActions actions;
    admission_.step(event, now_ns_, actions);
    for (const auto& action : actions) refused_ = refused_ || std::holds_alternative<Refuse>(action);
  }
  Arrived arrival(ipc::RequestId id, uint32_t tokens, uint64_t deadline_ns = 0,
                  Class service_class = Class::kNormal) const {
    Arrived event;
    event.request = id;
    event.service_class = service_class;
    event.client = "a";
    event.prompt_bytes = 4 * tokens;
    event.prompt_tokens = tokens;
    event.tokens_max = 100;
    event.deadline_ns = deadline_ns == 0 ? 0 : now_ns_ + deadline_ns;
    return event;
  }
  double part(const Arrived& event) const { return admission_.prompt_part(event, now_ns_); }
  // A vip that never gets its first token, beside shedding, for so many seconds.
  void press(int seconds) {
    tell(arrival(1, 10, 0, Class::kVip));
    for (int i = 0; i < 20 * seconds; ++i) {
      now_ns_ += Tick::kInterval_ns;
      if (i % 10 == 0) tell(arrival(static_cast<ipc::RequestId>(1'000 + i), 100'000, kMillisecond_ns));
      tell(Tick{});
    }
  }

  Admission admission_;
  uint64_t now_ns_ = kNow_ns;
  bool refused_ = false;
};

TEST_F(PromptPart, IsAllOfItWithoutPressure) {
  EXPECT_EQ(part(arrival(1, 2'000)), 1.0);
  EXPECT_EQ(part(arrival(1, 10, kSecond_ns)), 1.0);
}

TEST_F(PromptPart, IsWhatMeetsADeadlineThatTheWholeCannot) {
  const auto whole = arrival(1, 3'000, kSecond_ns);
  const double some = part(whole);
  EXPECT_LT(some, 0.4);
  EXPECT_GT(some, 0.05);
  auto shorter = whole;
  shorter.prompt_tokens = static_cast<uint32_t>(some * whole.prompt_tokens);
  tell(shorter);
  EXPECT_FALSE(refused_);
  auto same = whole;
  same.request = 2;
  tell(same);
  EXPECT_TRUE(refused_);
}

TEST_F(PromptPart, IsAllOfItWhereNoneWouldBeInTime) {
  EXPECT_EQ(part(arrival(1, 3'000, kMillisecond_ns)), 1.0) << "its refusal is of what was asked for";
}

TEST_F(PromptPart, IsWithinTheContextWithRoomForTheAnswer) {
  const double some = part(arrival(1, 8'192, 600 * kSecond_ns));
  EXPECT_LE(some * 8'192, 4'096 - 100);
  EXPECT_GT(some * 8'192, 3'000);
}

TEST_F(PromptPart, IsLittleAtThatStepOfTheLadderButForVip) {
  press(4);
  ASSERT_EQ(admission_.brownout(), BrownoutLevel::kTruncate);
  const auto normal = arrival(2, 3'000, 600 * kSecond_ns);
  EXPECT_NEAR(part(normal) * 3'000, BrownoutLadder::kPromptTokensMax, 1);
  EXPECT_EQ(part(arrival(2, 900, 600 * kSecond_ns)), 1.0);
  EXPECT_EQ(part(arrival(2, 3'000, 600 * kSecond_ns, Class::kVip)), 1.0);
}

}  // namespace
}  // namespace deepserve::daemon
