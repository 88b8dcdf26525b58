#include "daemon/admission/admission.h"

#include <gtest/gtest.h>

#include <array>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

Arrived arrival(ipc::RequestId id, Class service_class = Class::kNormal) {
  Arrived event;
  event.request = id;
  event.service_class = service_class;
  event.client = "a";
  event.prompt_bytes = 400;
  event.tokens_max = 100;
  event.body_hash = id;
  event.body_bytes = 500;
  return event;
}

// An Admission with one runner, and what it said last.
struct Host {
  explicit Host(uint32_t sequences_max, uint32_t kv_blocks = 0) : admission(AdmissionOptions{}) {
    up.capacity.sequences_max = sequences_max;
    up.capacity.kv_blocks = kv_blocks;
    tell(up);
  }
  // From here on its speed is known: 1000 tokens of prompt a second; a step of 10 ms and 1 ms a sequence.
  void measured() {
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    told.gauges.step_per_sequence_seconds = 0.001;
    tell(told);
  }
  template <typename Event>
  void tell(const Event& event, uint64_t now_ns = kNow_ns) {
    actions.clear();
    admission.step(event, now_ns, actions);
  }
  std::vector<ipc::RequestId> dispatched() const {
    std::vector<ipc::RequestId> ids;
    for (const auto& action : actions) {
      if (const auto* dispatch = std::get_if<Dispatch>(&action)) ids.push_back(dispatch->request);
    }
    return ids;
  }
  std::vector<Refuse> refused() const {
    std::vector<Refuse> refusals;
    for (const auto& action : actions) {
      if (const auto* refusal = std::get_if<Refuse>(&action)) refusals.push_back(*refusal);
    }
    return refusals;
  }
  // Its whole life at a runner, at one instant.
  void serve(ipc::RequestId id, uint32_t tokens, uint64_t now_ns = kNow_ns) {
    tell(Accepted{id, 100, 0}, now_ns);
    tell(FirstToken{id}, now_ns);
    tell(TokensCame{id, tokens - 1}, now_ns);
    tell(Ended{id, EndKind::kFinished, tokens}, now_ns);
  }
  RunnerUp up;
  Admission admission;
  AdmissionActions actions;
};

using Ids = std::vector<ipc::RequestId>;

TEST(Admission, ARequestThatFindsRoomGoesToTheRunnerAtOnce) {
  Host host(1);
  host.tell(arrival(1));
  EXPECT_EQ(host.dispatched(), Ids{1});
  host.tell(arrival(2));
  EXPECT_EQ(host.dispatched(), Ids{});
  EXPECT_TRUE(host.admission.waits(2));
  host.tell(Ended{1, EndKind::kFinished, 10});
  EXPECT_EQ(host.dispatched(), Ids{2});
}

TEST(Admission, ExpiredDeadlineIsShedNotPromoted) {
  Host host(1);
  host.tell(arrival(1));
  host.tell(arrival(2));
  EXPECT_NE(host.admission.next_ns(), 0u);
  host.tell(Tick{}, kNow_ns + 6 * kSecond_ns);
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_EQ(host.refused()[0].request, 2u);
  EXPECT_EQ(host.refused()[0].reason, RefusalReason::kDeadline);
  EXPECT_EQ(host.refused()[0].deadline_ns, 5 * kSecond_ns);
  EXPECT_GE(host.refused()[0].retry_after_ms, 1u);
}

TEST(Admission, WhatWaitedInAnEarlierLifeWaitsInItsOrderUntilItsDeadline) {
  AdmissionOptions options;
  options.classes[static_cast<size_t>(Class::kNormal)].waiting_max = 3;
  Admission admission(options);
  AdmissionActions actions;
  for (ipc::RequestId id = 1; id <= 4; ++id) {
    auto arrived = arrival(id);
    arrived.deadline_ns = kNow_ns + (id == 2 ? 1 : 10) * kSecond_ns;
    arrived.rules.concurrent_max = 1;  // a client of one at a time had all of these taken
    admission.step(TakenOver{arrived}, kNow_ns, actions);
  }
  ASSERT_EQ(actions.size(), 1u);  // there is no room for the fourth
  EXPECT_EQ(std::get<Refuse>(actions[0]).reason, RefusalReason::kQueueFull);
  actions.clear();
  RunnerUp up;
  up.capacity.sequences_max = 1;
  const uint64_t later_ns = kNow_ns + 2 * kSecond_ns;
  admission.step(Tick{}, later_ns, actions);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(std::get<Refuse>(actions[0]).request, 2u);
  actions.clear();
  admission.step(up, later_ns, actions);
  admission.step(Ended{1, EndKind::kFinished, 1}, later_ns, actions);
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(std::get<Dispatch>(actions[0]).request, 1u);
  EXPECT_EQ(std::get<Dispatch>(actions[1]).request, 3u);
}

TEST(Admission, WhatARunnerLeftGoesFirstAndIsNotShedOnceItWasAccepted) {
  Host host(1);
  host.tell(arrival(1));
  host.tell(arrival(2));
  host.tell(RunnerDown{0});
  host.tell(Returned{1, true});
  EXPECT_EQ(host.dispatched(), Ids{});
  host.tell(Tick{}, kNow_ns + 100 * kSecond_ns);
  EXPECT_EQ(host.refused().size(), 1u);
  host.tell(RunnerUp{}, kNow_ns + 100 * kSecond_ns);
  EXPECT_EQ(host.dispatched(), Ids{1});
}

TEST(Admission, WhoseFirstTokenWouldBeTooLateIsRefusedAtOnceWithATimeAndATicket) {
  Host host(1);
  host.measured();
  ipc::RequestId id = 0;
  for (; host.refused().empty() && id < 1000;) host.tell(arrival(++id));
  ASSERT_EQ(host.refused().size(), 1u);
  const auto refusal = host.refused()[0];
  EXPECT_EQ(refusal.request, id);
  EXPECT_EQ(refusal.reason, RefusalReason::kDeadline);
  EXPECT_GT(refusal.predicted_ttft_ns, 5 * kSecond_ns);
  EXPECT_TRUE(refusal.booked);
  EXPECT_FALSE(refusal.ticket.empty());
  EXPECT_GT(refusal.retry_after_ms, 1000u);
  EXPECT_LT(refusal.retry_after_ms, 60'000u);
}

TEST(Admission, WhoComesBackWithATicketOnTimeGoesAheadOfTheFresh) {
  Host host(1);
  host.measured();
  ipc::RequestId id = 0;
  for (; host.refused().empty() && id < 1000;) host.tell(arrival(++id));
  const auto refusal = host.refused().at(0);
  const uint64_t then_ns = kNow_ns + refusal.retry_after_ms * kMillisecond_ns;
  auto back = arrival(5000);
  back.body_hash = id;
  back.ticket = refusal.ticket;
  host.tell(back, then_ns);
  EXPECT_TRUE(host.admission.waits(5000));
  EXPECT_TRUE(host.admission.view(5000)->booked);
  host.tell(arrival(5001), then_ns);
  host.serve(1, 10, then_ns);
  EXPECT_EQ(host.dispatched(), Ids{5000});
  back.request = 5002;
  host.tell(back, then_ns);
  EXPECT_FALSE(host.admission.waits(5002));  // a ticket is good for once: it is one of the fresh again
}

TEST(Admission, AVipIsSentToAFullRunnerAndPreemptsThere) {
  Host host(2);
  host.measured();
  for (ipc::RequestId id = 1; id <= 5; ++id) host.tell(arrival(id));
  host.tell(arrival(6, Class::kVip));
  EXPECT_EQ(host.dispatched(), Ids{6});
  host.tell(arrival(7, Class::kVip));
  EXPECT_EQ(host.dispatched(), Ids{7});
  host.tell(arrival(8, Class::kVip));
  EXPECT_EQ(host.dispatched(), Ids{});
}

TEST(Admission, WhatCannotMeetItsDeadlineIsNotStartedAndWhatWasPrefilledIsNeverShed) {
  Host host(1);
  host.measured();
  auto slow = arrival(1);
  slow.prompt_tokens = 1000;
  slow.deadline_ns = kNow_ns + 3 * kSecond_ns;
  auto other = slow;
  other.request = 2;
  host.tell(slow);
  EXPECT_EQ(host.dispatched(), Ids{1});
  host.tell(Accepted{1, 1000, 0});
  host.tell(other);
  host.tell(FirstToken{1}, kNow_ns + kSecond_ns);
  host.tell(Ended{1, EndKind::kFinished, 1}, kNow_ns + 5 * kSecond_ns / 2);
  EXPECT_EQ(host.dispatched(), Ids{});
  for (const auto& refusal : host.refused()) EXPECT_EQ(refusal.request, 2u);
  EXPECT_FALSE(host.admission.waits(2));
}

TEST(Admission, KvMemoryForTheFuturePeakIsWaitedFor) {
  Host host(64, 20);  // 320 tokens
  host.measured();
  auto first = arrival(1);
  first.prompt_tokens = 100;
  auto second = first;
  second.request = 2;
  host.tell(first);
  host.tell(Accepted{1, 100, 0});
  host.tell(FirstToken{1});
  host.tell(second);
  EXPECT_EQ(host.dispatched(), Ids{});
  EXPECT_EQ(host.admission.view(2)->waits_for, WaitReason::kMemory);
  host.tell(TokensCame{1, 95});
  host.tell(Tick{});
  EXPECT_EQ(host.dispatched(), Ids{});
  host.tell(Ended{1, EndKind::kFinished, 96});
  EXPECT_EQ(host.dispatched(), Ids{2});
}

TEST(Admission, WorkGoesToTheRunnerWhereItsFirstTokenComesFirst) {
  AdmissionOptions options;
  options.runners = 2;
  Admission admission(options);
  AdmissionActions actions;
  for (uint32_t runner = 0; runner < 2; ++runner) {
    RunnerUp up;
    up.runner = runner;
    up.capacity.sequences_max = 8;
    admission.step(up, kNow_ns, actions);
    RunnerTold told;
    told.runner = runner;
    told.gauges.prefill_tokens_per_second = runner == 0 ? 100 : 1000;
    admission.step(told, kNow_ns, actions);
  }
  admission.step(arrival(1), kNow_ns, actions);
  EXPECT_EQ(std::get<Dispatch>(actions.at(0)).runner, 1u);
}

TEST(Admission, EqualRunnersShareTheWorkAndOneWhoseLaneIsFullGetsNone) {
  AdmissionOptions options;
  options.runners = 3;
  Admission admission(options);
  AdmissionActions actions;
  for (uint32_t runner = 0; runner < 3; ++runner) {
    RunnerUp up;
    up.runner = runner;
    up.capacity.sequences_max = 8;
    admission.step(up, kNow_ns, actions);
  }
  RunnerTold full;
  full.runner = 0;
  full.has_room = false;
  admission.step(full, kNow_ns, actions);
  std::array<int, 3> sent{};
  for (ipc::RequestId id = 1; id <= 16; ++id) admission.step(arrival(id), kNow_ns, actions);
  for (const auto& action : actions) ++sent.at(std::get<Dispatch>(action).runner);
  EXPECT_EQ(sent, (std::array<int, 3>{0, 8, 8}));
}

TEST(Admission, AClientsOwnLimitsAreItsOwnBusiness) {
  Host host(8);
  auto one = arrival(1);
  one.rules.concurrent_max = 1;
  host.tell(one);
  one.request = 2;
  host.tell(one);
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_EQ(host.refused()[0].code, Code::kRateLimited);
  EXPECT_EQ(host.refused()[0].reason, RefusalReason::kClientRequests);
  host.serve(1, 10);
  one.request = 3;
  host.tell(one);
  EXPECT_EQ(host.dispatched(), Ids{3});
}

TEST(Admission, ADeadlineThatNobodyNamedIsWithinReachOfAnIdleHostAndANamedOneIsKept) {
  Host host(8);
  host.measured();
  auto slow = arrival(1, Class::kVip);
  slow.prompt_tokens = 2000;  // two seconds; the default is half of one
  host.tell(slow);
  EXPECT_EQ(host.dispatched(), Ids{1});
  host.serve(1, 1);
  slow.request = 2;
  slow.deadline_ns = kNow_ns + kSecond_ns;
  host.tell(slow);
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_TRUE(host.refused()[0].ticket.empty());  // no time would help
}

TEST(Admission, ADeadlineThatNoIdleHostMeetsIsRefusedAsSuchAtAnyLoad) {
  Host host(1);
  host.measured();
  auto hasty = arrival(1000);  // 120 tokens: more than a tenth of a second
  hasty.deadline_ns = kNow_ns + 100 * kMillisecond_ns;
  const auto is_refused_for_good = [&host, &hasty] {
    ++hasty.request;
    host.tell(hasty);
    ASSERT_EQ(host.refused().size(), 1u);
    EXPECT_EQ(host.refused()[0].reason, RefusalReason::kDeadline);
    EXPECT_FALSE(host.refused()[0].booked);
  };
  is_refused_for_good();
  for (ipc::RequestId id = 1; id < 10; ++id) host.tell(arrival(id));
  is_refused_for_good();
  for (ipc::RequestId id = 10; id < 300; ++id) host.tell(arrival(id));
  is_refused_for_good();
}

TEST(Admission, HorizonIsTheReasonOnceTheCalendarIsFullAndNotBefore) {
  Host host(1);
  host.measured();
  uint64_t last_ms = 0;
  for (ipc::RequestId id = 1; id < 2000; ++id) {
    host.tell(arrival(id));
    if (host.refused().empty()) continue;
    const auto refusal = host.refused()[0];
    EXPECT_EQ(refusal.reason == RefusalReason::kDeadline, refusal.booked);
    if (!refusal.booked) {
      EXPECT_EQ(refusal.reason, RefusalReason::kHorizon);
      EXPECT_GT(last_ms, 55'000u);
      return;
    }
    last_ms = refusal.retry_after_ms;
  }
  FAIL() << "the calendar never was full";
}

TEST(Admission, TimeThatGoesBackwardsStandsStill) {
  Host host(1);
  host.tell(arrival(1));
  host.tell(arrival(2), 1);
  EXPECT_TRUE(host.admission.waits(2));
  host.tell(Tick{}, kNow_ns + 4 * kSecond_ns);
  EXPECT_TRUE(host.admission.waits(2));
}

TEST(Admission, AClockThatWasSetBackIsFollowedFromWhereTimeStood) {
  Host host(1);
  host.tell(arrival(1));
  host.tell(arrival(2));
  const uint64_t expires_ns = host.admission.next_ns();
  host.tell(Tick{}, kNow_ns / 2);
  for (uint64_t passed_ns = 0; passed_ns < 2 * kSecond_ns; passed_ns += kSecond_ns / 10) {
    host.tell(Tick{}, kNow_ns / 2 + passed_ns);
  }
  const uint64_t then_ns = host.admission.next_ns();
  EXPECT_LT(then_ns, expires_ns) << "by the clock as it is now";
  EXPECT_TRUE(host.admission.waits(2));
  host.tell(Tick{}, then_ns);
  EXPECT_FALSE(host.admission.waits(2));
}

TEST(Admission, HugeAndPastDeadlinesGainNothing) {
  Host host(1);
  host.measured();
  host.tell(arrival(1));
  auto past = arrival(2);
  past.deadline_ns = 1;
  host.tell(past);
  ASSERT_EQ(host.refused().size(), 1u);
  auto far = arrival(3);
  far.deadline_ns = UINT64_MAX;
  host.tell(arrival(4));
  host.tell(far);
  host.serve(1, 1);
  EXPECT_EQ(host.dispatched(), Ids{4});
}

}  // namespace
}  // namespace deepserve::daemon
