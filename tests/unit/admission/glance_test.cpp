// Stage 0: what the core says of a request of which only the head is known.
#include <gtest/gtest.h>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

Arrived arrival(ipc::RequestId id) {
  Arrived event;
  event.request = id;
  event.client = "a";
  event.prompt_bytes = 4'000;
  event.body_bytes = 4'200;
  return event;
}

// One runner with one seat: 1000 tokens of prompt and 100 of answer a second.
class BusyHost : public testing::Test {
 protected:
  BusyHost() : admission_(AdmissionOptions{}) {
    RunnerUp up;
    up.capacity.sequences_max = 1;
    admission_.step(up, kNow_ns, actions_);
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    admission_.step(told, kNow_ns, actions_);
  }
  // Fills the queue until a whole request is refused.
  void overload() {
    for (ipc::RequestId id = 1; id < 1000; ++id) {
      auto event = arrival(id);
      event.body_hash = id;
      event.tokens_max = 200;
      actions_.clear();
      admission_.step(event, kNow_ns, actions_);
      if (!actions_.empty() && std::holds_alternative<Refuse>(actions_.front())) return;
    }
    FAIL() << "nothing was refused";
  }

  Admission admission_;
  AdmissionActions actions_;
};

TEST_F(BusyHost, AHeadIsNotRefusedWhileThereIsRoom) {
  EXPECT_FALSE(admission_.glance(arrival(1), kNow_ns));
}

TEST_F(BusyHost, AHeadIsRefusedWithASlotLikeAWholeRequest) {
  overload();
  const auto refusal = admission_.glance(arrival(2000), kNow_ns);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDeadline);
  EXPECT_TRUE(refusal->booked);
  EXPECT_FALSE(refusal->ticket.empty());
  EXPECT_GT(refusal->predicted_ttft_ns, refusal->deadline_ns);
}

TEST_F(BusyHost, WhoShowsHisTicketOnTimeIsNotRefusedOnHisHead) {
  overload();
  auto event = arrival(2000);
  const auto refusal = admission_.glance(event, kNow_ns);
  ASSERT_TRUE(refusal && refusal->booked);
  event.request = 2001;
  event.ticket = refusal->ticket;
  const uint64_t told_ns = kNow_ns + refusal->retry_after_ms * kMillisecond_ns;
  EXPECT_FALSE(admission_.glance(event, told_ns));
  EXPECT_FALSE(admission_.glance(event, told_ns)) << "a look uses nothing up";
}

TEST_F(BusyHost, EqualHeadsAreNoRetriesAndEachGetsASlot) {
  overload();
  uint64_t last_ms = 0;
  for (ipc::RequestId id = 2000; id < 2020; ++id) {
    const auto refusal = admission_.glance(arrival(id), kNow_ns);
    ASSERT_TRUE(refusal);
    ASSERT_EQ(refusal->code, Code::kServerOverloaded);
    if (!refusal->booked) break;
    EXPECT_GT(refusal->retry_after_ms, last_ms);
    last_ms = refusal->retry_after_ms;
  }
}

TEST_F(BusyHost, GlancesLeaveNothingInTheQueue) {
  overload();
  const uint32_t waiting = admission_.waiting_total();
  for (ipc::RequestId id = 2000; id < 2100; ++id) admission_.glance(arrival(id), kNow_ns);
  EXPECT_EQ(admission_.waiting_total(), waiting);
}

}  // namespace
}  // namespace deepserve::daemon
