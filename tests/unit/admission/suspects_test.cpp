// Suspects are tried one at a time by a runner that has nobody else (DESIGN 6.4).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;
using Sent = std::vector<std::pair<ipc::RequestId, uint32_t>>;  // which request to which runner

// An Admission with two runners of one model.
struct Court {
  Court() : admission(options()) {
    up(0);
    up(1);
  }
  static AdmissionOptions options() {
    AdmissionOptions options;
    options.runners = 2;
    return options;
  }
  template <typename Event>
  Sent tell(const Event& event, uint64_t now_ns = kNow_ns) {
    actions.clear();
    admission.step(event, now_ns, actions);
    Sent sent;
    for (const auto& action : actions) {
      if (const auto* one = std::get_if<Dispatch>(&action)) sent.emplace_back(one->request, one->runner);
    }
    for (const auto& [id, runner] : sent) at[id] = runner;
    return sent;
  }
  Sent up(uint32_t runner) {
    RunnerUp event;
    event.runner = runner;
    event.capacity.sequences_max = 8;
    return tell(event);
  }
  Sent arrive(ipc::RequestId id) {
    Arrived event;
    event.request = id;
    event.client = "a";
    event.tokens_max = 100;
    return tell(event);
  }
  // Accepted, and as many tokens as clear a suspect.
  Sent speak(ipc::RequestId id) {
    tell(Accepted{id, 10, 0});
    auto sent = tell(FirstToken{id});
    const auto more = tell(TokensCame{id, SuspectTrial::kTokens});
    sent.insert(sent.end(), more.begin(), more.end());
    return sent;
  }
  // The runner is gone, and these were its requests, the one that was on trial first.
  Sent crash(uint32_t runner, std::vector<ipc::RequestId> ids, bool suspect = true) {
    auto sent = tell(RunnerDown{runner});
    std::stable_sort(ids.begin(), ids.end(),
                     [this](auto a, auto b) { return admission.was_tried(a) > admission.was_tried(b); });
    for (const auto id : ids) {
      const auto more = tell(Returned{id, true, suspect});
      sent.insert(sent.end(), more.begin(), more.end());
    }
    return sent;
  }
  Admission admission;
  AdmissionActions actions;
  std::map<ipc::RequestId, uint32_t> at;
};

// Requests 1 to 4 of which 1 and 3 are at runner 0.
struct BusyCourt : Court {
  BusyCourt() {
    for (ipc::RequestId id = 1; id <= 4; ++id) {
      arrive(id);
      speak(id);
    }
    EXPECT_EQ(at, (std::map<ipc::RequestId, uint32_t>{{1, 0}, {2, 1}, {3, 0}, {4, 1}}));
  }
};

TEST(Suspects, WhatAKilledRunnerHadGoesToTheOtherOneAtOnce) {
  BusyCourt court;
  EXPECT_EQ(court.crash(0, {1, 3}, false), (Sent{{1, 1}, {3, 1}}));
}

TEST(Suspects, NoneJoinsTheRequestsOfARunnerThatLives) {
  BusyCourt court;
  EXPECT_EQ(court.crash(0, {1, 3}), Sent{});
  EXPECT_EQ(court.arrive(5), (Sent{{5, 1}}));  // the others are served meanwhile
}

TEST(Suspects, TheRestartedRunnerTriesThemOneAfterAnother) {
  BusyCourt court;
  court.crash(0, {1, 3});
  EXPECT_EQ(court.up(0), (Sent{{1, 0}}));
  EXPECT_EQ(court.arrive(5), (Sent{{5, 1}}));
  EXPECT_EQ(court.speak(1), (Sent{{3, 0}}));
  EXPECT_EQ(court.arrive(6), (Sent{{6, 1}}));
  court.speak(3);
  EXPECT_EQ(court.arrive(7), (Sent{{7, 0}}));  // the trial is over
}

TEST(Suspects, TheOneUnderWhomTheCourtDiesIsAloneNextTime) {
  BusyCourt court;
  court.crash(0, {1, 3});
  court.up(0);
  court.speak(1);
  EXPECT_EQ(court.crash(0, {1, 3}), Sent{});
  EXPECT_EQ(court.up(0), (Sent{{3, 0}}));
  EXPECT_EQ(court.tell(Ended{3, EndKind::kFailed, 5}), (Sent{{1, 0}}));  // it killed again, alone
}

TEST(Suspects, ASuspectWhoseCourtIsKilledFromOutsideIsStillTried) {
  BusyCourt court;
  court.crash(0, {1, 3});
  court.up(0);
  EXPECT_EQ(court.crash(0, {1}, false), Sent{});
  EXPECT_EQ(court.up(0), (Sent{{1, 0}}));
}

TEST(Suspects, OneThatTellsItsTokensWhileItsCourtLeavesIsCleared) {
  BusyCourt court;
  court.crash(0, {1, 3});
  court.up(0);
  court.tell(RunnerDown{0});
  court.speak(1);
  EXPECT_EQ(court.tell(Returned{1, true, false}), (Sent{{1, 1}}));
}

TEST(Suspects, WithoutTheirRunnerTheyGetTheOtherOnceItIsEmpty) {
  BusyCourt court;
  court.crash(0, {1, 3});
  court.tell(Tick{}, kNow_ns + SuspectTrial::kPatience_ns);
  EXPECT_EQ(court.arrive(5), Sent{});
  EXPECT_EQ(court.tell(Ended{2}), Sent{});
  EXPECT_EQ(court.tell(Ended{4}), (Sent{{1, 1}}));
  EXPECT_EQ(court.speak(1), (Sent{{3, 1}}));
  EXPECT_EQ(court.speak(3), (Sent{{5, 1}}));
}

TEST(Suspects, OneThatItsClientLeavesHoldsUpNobody) {
  BusyCourt court;
  court.crash(0, {1, 3});
  court.up(0);
  EXPECT_EQ(court.tell(Ended{1, EndKind::kCancelled, 0}), (Sent{{3, 0}}));
  court.tell(Ended{3, EndKind::kCancelled, 0});
  EXPECT_EQ(court.arrive(5), (Sent{{5, 0}}));
}

TEST(Suspects, AWaitingOneSaysWhatItWaitsFor) {
  BusyCourt court;
  court.crash(0, {1, 3});
  EXPECT_EQ(wait_reason_name(court.admission.view(1)->waits_for), "trial");
}

}  // namespace
}  // namespace deepserve::daemon
