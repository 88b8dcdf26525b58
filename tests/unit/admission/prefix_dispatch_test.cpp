// Work goes where the beginning of its prompt is known (DESIGN 7).
#include <gtest/gtest.h>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;
const std::string kDocument(8'000, 'd');

AdmissionOptions two_runners() {
  AdmissionOptions options;
  options.runners = 2;
  return options;
}

// Two runners of 1000 tokens of prompt a second each.
class TwoRunners : public testing::Test {
 protected:
  TwoRunners() : admission_(two_runners()) {
    for (const uint32_t runner : {0, 1}) start(runner);
  }
  void start(uint32_t runner) {
    RunnerUp up;
    up.runner = runner;
    up.capacity.sequences_max = 8;
    tell(up);
    RunnerTold told;
    told.runner = runner;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    tell(told);
  }
  template <typename Event>
  void tell(const Event& event) {
    AdmissionActions actions;
    admission_.step(event, kNow_ns, actions);
    for (const auto& action : actions) {
      if (const auto* dispatch = std::get_if<Dispatch>(&action)) runner_ = dispatch->runner;
      refused_ = refused_ || std::holds_alternative<Refuse>(action);
    }
  }
  void arrive(ipc::RequestId id, const std::string& text, uint64_t deadline_ns = 600 * kSecond_ns) {
    Arrived event;
    event.request = id;
    event.client = "a";
    event.prompt_bytes = text.size();
    event.prompt_tokens = static_cast<uint32_t>(text.size() / 4);
    event.tokens_max = 10;
    event.deadline_ns = kNow_ns + deadline_ns;
    ipc::Prompt prompt;
    prompt.text = text;
    event.prefix = prefix_of(prompt, {});
    tell(event);
  }
  void serve(ipc::RequestId id, uint32_t tokens, uint32_t cached) {
    tell(Accepted{id, tokens, cached});
    tell(FirstToken{id});
    tell(Ended{id, EndKind::kFinished, 1});
  }
  // One with the document at the runner that is not chosen among equals.
  void warm_up() {
    arrive(1, std::string(400, 'x'));
    const uint32_t first = runner_;
    arrive(2, kDocument);
    warm_ = runner_;
    ASSERT_NE(warm_, first);
    serve(1, 100, 0);
    serve(2, 2'000, 0);
  }

  Admission admission_;
  uint32_t runner_ = 9;
  uint32_t warm_ = 9;
  bool refused_ = false;
};

TEST_F(TwoRunners, APromptGoesToTheRunnerThatKnowsItsBeginning) {
  warm_up();
  arrive(3, std::string(8'000, 'e'));
  EXPECT_NE(runner_, warm_) << "of equals the other one is chosen";
  serve(3, 2'000, 0);
  arrive(4, std::string(9'000, 'd'));
  EXPECT_EQ(runner_, warm_);
}

TEST_F(TwoRunners, WhatIsKnownCostsLessAndIsSoonerPredicted) {
  warm_up();
  arrive(3, std::string(8'000, 'e'));
  arrive(4, kDocument);
  const auto cold = *admission_.view(3);
  const auto warm = *admission_.view(4);
  EXPECT_LT(warm.cost, 0.2 * cold.cost);
  EXPECT_LT(warm.predicted_ttft_ns, cold.predicted_ttft_ns / 5);
}

TEST_F(TwoRunners, ADeadlineThatOnlyTheKnownBeginningCanMeetIsAccepted) {
  warm_up();
  arrive(3, std::string(8'000, 'e'), kSecond_ns);
  EXPECT_TRUE(refused_);
  refused_ = false;
  arrive(4, kDocument, kSecond_ns);
  EXPECT_FALSE(refused_);
}

TEST_F(TwoRunners, AKnownBeginningIsNotWaitedForWhereAnotherRunnerHasRoom) {
  warm_up();
  RunnerTold full;
  full.runner = warm_;
  full.gauges.prefill_tokens_per_second = 1000;
  full.has_room = false;
  tell(full);
  arrive(3, kDocument);
  EXPECT_NE(runner_, warm_);
}

TEST_F(TwoRunners, ARunnerThatHasMeasuredNothingIsNoFasterThanTheOther) {
  warm_up();
  const uint32_t other = 1 - warm_;
  RunnerUp up;
  up.runner = other;
  up.capacity.sequences_max = 8;
  tell(RunnerDown{other});
  tell(up);
  RunnerTold nothing;
  nothing.runner = other;
  tell(nothing);
  arrive(3, kDocument);
  EXPECT_EQ(runner_, warm_);
}

TEST_F(TwoRunners, ARunnerThatHasPrefilledAFewTokensIsNotQuickerThanTheOneThatKnowsTheDocument) {
  warm_up();
  const auto tell_of = [&](uint32_t runner, double per_second, uint64_t tokens) {
    RunnerTold told;
    told.runner = runner;
    told.gauges.prefill_tokens_per_second = per_second;
    told.gauges.prompt_tokens_total = tokens;
    tell(told);
  };
  tell_of(warm_, 1'000, 2'000);
  tell_of(1 - warm_, 50'000, 12);
  arrive(3, std::string(10'000, 'd'));
  EXPECT_EQ(runner_, warm_);
  serve(3, 2'500, 2'000);
  tell_of(1 - warm_, 50'000, 100'000);
  arrive(4, std::string(12'000, 'd'));
  EXPECT_NE(runner_, warm_) << "it has shown by now that it is";
}

TEST_F(TwoRunners, ANewProcessKnowsNothing) {
  warm_up();
  tell(RunnerDown{warm_});
  start(warm_);
  arrive(3, kDocument);
  EXPECT_NE(runner_, warm_) << "of equals the other one is chosen";
}

TEST_F(TwoRunners, ARunnerWhoseCacheDoesNotHoldWhatItWasSentIsBelievedNoMore) {
  warm_up();
  for (ipc::RequestId id = 10; id < 40; ++id) {
    arrive(id, kDocument);
    serve(id, 2'000, 0);
  }
  arrive(100, kDocument);
  EXPECT_GT(admission_.view(100)->cost, 1.5);
}

}  // namespace
}  // namespace deepserve::daemon
