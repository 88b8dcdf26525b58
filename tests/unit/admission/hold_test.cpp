// A swap that has no room for two: nobody serves for a while.
#include <gtest/gtest.h>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;
using Ids = std::vector<ipc::RequestId>;

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

// One runner with one seat, 1000 tokens of prompt a second, and a request that runs there.
class SwapWithoutRoom : public ::testing::Test {
 protected:
  SwapWithoutRoom() : admission_(AdmissionOptions{.models = 2, .ticket_key = {}}) {
    tell(RunnerUp{0, 0, {.sequences_max = 1}});
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    tell(told);
    arrive(1, 60);
  }
  template <typename Event>
  void tell(const Event& event) {
    actions_.clear();
    admission_.step(event, now_ns_, actions_);
  }
  void arrive(ipc::RequestId id, uint64_t deadline_s, uint32_t tokens = 100) {
    Arrived event;
    event.request = id;
    event.client = "a";
    event.prompt_tokens = 100;
    event.tokens_max = tokens;
    event.body_hash = id;
    event.deadline_ns = now_ns_ + deadline_s * kSecond_ns;
    tell(event);
  }
  Ids dispatched() const {
    Ids ids;
    for (const auto& action : actions_) {
      if (const auto* dispatch = std::get_if<Dispatch>(&action)) ids.push_back(dispatch->request);
    }
    return ids;
  }
  std::vector<Refuse> refused() const {
    std::vector<Refuse> all;
    for (const auto& action : actions_) {
      if (const auto* refusal = std::get_if<Refuse>(&action)) all.push_back(*refusal);
    }
    return all;
  }

  uint64_t now_ns_ = kNow_ns;
  Admission admission_;
  AdmissionActions actions_;
};

TEST_F(SwapWithoutRoom, WhoCannotWaitIsToldAtOnceAndWhoCanIsServedHoweverLongItTakes) {
  arrive(2, 5);
  arrive(3, 30);
  tell(Held{.model = 0, .load_ns = 10 * kSecond_ns, .drains = true});
  ASSERT_EQ(refused().size(), 1u);
  EXPECT_EQ(refused()[0].request, 2u);
  EXPECT_TRUE(refused()[0].booked) << "with a slot behind the swap";
  EXPECT_GE(refused()[0].retry_after_ms, 10'000u);
  tell(RunnerDown{0});
  tell(Ended{1, EndKind::kFinished, 100});
  EXPECT_TRUE(dispatched().empty());
  now_ns_ += 100 * kSecond_ns;  // far beyond its deadline, and what was said
  tell(Tick{});
  EXPECT_TRUE(refused().empty()) << "it was promised to be served";
  tell(Reopened{0});
  tell(RunnerUp{7, 0, {.sequences_max = 1}});
  EXPECT_EQ(dispatched(), Ids{3});
}

TEST_F(SwapWithoutRoom, ArrivalsAreJudgedByWhenItIsServedAgain) {
  tell(Held{.model = 0, .load_ns = 10 * kSecond_ns});
  tell(RunnerDown{0});
  arrive(4, 5);
  ASSERT_EQ(refused().size(), 1u);
  EXPECT_TRUE(refused()[0].booked);
  EXPECT_GE(refused()[0].retry_after_ms, 10'000u);
  arrive(5, 20);
  EXPECT_TRUE(refused().empty());
  EXPECT_TRUE(admission_.waits(5));
}

TEST_F(SwapWithoutRoom, AModelThatWasNeverLoadedIsJudgedByItsLoadingAlone) {
  tell(Held{.model = 1, .load_ns = 10 * kSecond_ns});
  Arrived event;
  event.request = 9;
  event.model = 1;
  event.client = "a";
  event.deadline_ns = now_ns_ + 5 * kSecond_ns;
  tell(event);
  EXPECT_EQ(refused().size(), 1u);
  event.request = 10;
  event.deadline_ns = now_ns_ + 20 * kSecond_ns;
  tell(event);
  EXPECT_TRUE(refused().empty());
}

TEST_F(SwapWithoutRoom, HeldOnesGoWithWhatComesBackFromADeadRunner) {
  arrive(2, 30);
  tell(Held{.model = 0, .load_ns = kSecond_ns, .drains = true});
  tell(RunnerDown{0});
  tell(Returned{1, true});
  tell(RunnerUp{1, 0, {.sequences_max = 2}});
  EXPECT_EQ(dispatched(), (Ids{1, 2}));
}

TEST_F(SwapWithoutRoom, ReroutedOnesWaitForTheOtherModelAheadOfAll) {
  arrive(2, 30);
  arrive(3, 30);
  tell(Rerouted{3, 1});
  EXPECT_TRUE(admission_.waits(3));
  tell(RunnerUp{1, 1, {.sequences_max = 1}});
  EXPECT_EQ(dispatched(), Ids{3});
  tell(Ended{3, EndKind::kFinished, 5});
  tell(Ended{1, EndKind::kFinished, 5});
  EXPECT_EQ(dispatched(), Ids{2});
}

TEST_F(SwapWithoutRoom, OneThatRanBeforeItWasReroutedIsSettledWhereItWasCharged) {
  tell(RunnerDown{0});
  tell(Returned{1, true});
  tell(Rerouted{1, 1});
  tell(RunnerUp{1, 1, {.sequences_max = 1}});
  EXPECT_EQ(dispatched(), Ids{1});
  tell(Ended{1, EndKind::kFinished, 5});
  EXPECT_FALSE(admission_.view(1));
}

TEST_F(SwapWithoutRoom, AModelThatComesLaterWaitsAndIsServedBesideTheOthers) {
  arrive(2, 60);
  admission_.reconfigure(AdmissionOptions{.models = 4, .ticket_key = {}});
  tell(Held{.model = 3, .load_ns = kSecond_ns, .drains = false});
  Arrived event;
  event.request = 3;
  event.model = 3;
  event.client = "b";
  event.prompt_tokens = 100;
  event.tokens_max = 100;
  event.deadline_ns = now_ns_ + 60 * kSecond_ns;
  tell(event);
  EXPECT_EQ(admission_.waiting_for(3), Ids{3});
  EXPECT_EQ(admission_.waiting_for(0), Ids{2}) << "who waited before still does";
  tell(Reopened{3});
  tell(RunnerUp{1, 3, {.sequences_max = 1}});
  EXPECT_EQ(dispatched(), Ids{3});
}

TEST_F(SwapWithoutRoom, ARunnerThatIsNeverUpMayEndWhatAnEarlierDaemonGaveIt) {
  Adopted adopted;
  adopted.arrived.request = 40;
  adopted.arrived.client = "a";
  adopted.arrived.tokens_max = 10;
  adopted.runner = 9;
  tell(adopted);
  tell(Accepted{40, 10, 0});
  tell(FirstToken{40});
  tell(Ended{40, EndKind::kFinished, 1});
  EXPECT_FALSE(admission_.view(40));
}

}  // namespace
}  // namespace deepserve::daemon
