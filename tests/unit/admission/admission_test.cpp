#include "daemon/admission/admission.h"

#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using ipc::Class;

AdmissionOptions options() {
  AdmissionOptions options;
  options.classes = {
      {{0.70, 100, kSecond_ns / 2}, {0.25, 100, 5 * kSecond_ns}, {0.05, 100, 600 * kSecond_ns}}};
  return options;
}

Arrived arrival(ipc::RequestId id, Class service_class = Class::kNormal) {
  Arrived event;
  event.request = id;
  event.service_class = service_class;
  event.client = "a";
  event.prompt_bytes = 400;
  event.tokens_max = 100;
  return event;
}

// An Admission with one runner, and what it said last.
struct Host {
  explicit Host(uint32_t sequences_max) : admission(options()) {
    RunnerUp up;
    up.capacity.sequences_max = sequences_max;
    tell(up);
  }
  template <typename Event>
  void tell(const Event& event, uint64_t now_ns = kSecond_ns) {
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
  host.tell(Tick{}, 7 * kSecond_ns);
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_EQ(host.refused()[0].request, 2u);
  EXPECT_EQ(host.refused()[0].reason, RefusalReason::kDeadline);
  EXPECT_EQ(host.refused()[0].deadline_ns, 5 * kSecond_ns);
  EXPECT_GE(host.refused()[0].retry_after_ms, 1u);
}

TEST(Admission, WhatARunnerLeftGoesFirstAndIsNotShedOnceItWasAccepted) {
  Host host(1);
  host.tell(arrival(1));
  host.tell(arrival(2, Class::kVip));
  host.tell(RunnerDown{0});
  host.tell(Returned{1, true});
  EXPECT_EQ(host.dispatched(), Ids{});
  host.tell(Tick{}, 100 * kSecond_ns);
  EXPECT_EQ(host.refused().size(), 1u);
  host.tell(RunnerUp{}, 100 * kSecond_ns);
  EXPECT_EQ(host.dispatched(), Ids{1});
}

}  // namespace
}  // namespace deepserve::daemon
