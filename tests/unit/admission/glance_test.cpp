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
  event.client = std::string("a");
  event.prompt_bytes = 4'000;
  event.body_bytes = 4'200;
  return event;
}

// A runner comes that does 1000 tokens of prompt and, of each sequence, 100 of answer a second.
void add_runner(Admission& admission, uint32_t seats) {
  AdmissionActions actions;
  RunnerUp up;
  up.capacity.sequences_max = seats;
  admission.step(up, kNow_ns, actions);
  RunnerTold told;
  told.gauges.prefill_tokens_per_second = 1000;
  told.gauges.step_fixed_seconds = 0.010;
  admission.step(told, kNow_ns, actions);
}

class BusyHost : public testing::Test {
 protected:
  BusyHost() : admission_(AdmissionOptions{}) { add_runner(admission_, 1); }
  // Fills the queue until a whole request is refused.
  void overload() {
    for (ipc::RequestId id = 1; id < 1000; ++id) {
      auto event = arrival(id);
      event.body_hash = id;
      event.body_bytes = 5'000 + id;
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

TEST_F(BusyHost, WhoWasBookedByHisBodyIsNotRefusedOnHisHeadAtThatTime) {
  overload();
  auto event = arrival(2000);
  event.body_hash = 77;
  actions_.clear();
  admission_.step(event, kNow_ns, actions_);
  const auto refusal = std::get<Refuse>(actions_.front());
  ASSERT_TRUE(refusal.booked);
  const uint64_t told_ns = kNow_ns + refusal.retry_after_ms * kMillisecond_ns;
  EXPECT_TRUE(admission_.glance(arrival(2001), kNow_ns)) << "before it";
  auto longer = arrival(2002);
  longer.body_bytes += 1;
  EXPECT_TRUE(admission_.glance(longer, told_ns)) << "another body";
  EXPECT_FALSE(admission_.glance(arrival(2003), told_ns));
  event.request = 2004;
  actions_.clear();
  admission_.step(event, told_ns, actions_);
  EXPECT_TRUE(admission_.waits(2004)) << "and his body has the slot";
  EXPECT_TRUE(admission_.glance(arrival(2005), told_ns)) << "which is used up then";
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

// One vip decodes on a host with seats; another comes, with a prompt of so many bytes.
class VipBesideVip {
 public:
  VipBesideVip() : admission_(AdmissionOptions{}) {
    add_runner(admission_, 8);
    admission_.step(vip(1, 100), kNow_ns, actions_);
    admission_.step(FirstToken{1}, kNow_ns, actions_);
  }
  bool admits(uint64_t prompt_bytes) {
    actions_.clear();
    admission_.step(vip(2, prompt_bytes), kNow_ns, actions_);
    return std::holds_alternative<Dispatch>(actions_.front());
  }
  bool refuses_on_head(uint64_t prompt_bytes) {
    return admission_.glance(vip(2, prompt_bytes), kNow_ns).has_value();
  }

 private:
  static Arrived vip(ipc::RequestId id, uint64_t prompt_bytes) {
    auto event = arrival(id);
    event.service_class = ipc::Class::kVip;
    event.prompt_bytes = prompt_bytes;
    return event;
  }
  Admission admission_;
  AdmissionActions actions_;
};

TEST(Glance, RefusesExactlyThoseThatWouldBeRefusedWhole) {
  int admitted = 0;
  int refused = 0;
  for (uint64_t bytes = 100; bytes < 20'000; bytes += 100) {
    const bool admits = VipBesideVip().admits(bytes);
    EXPECT_EQ(VipBesideVip().refuses_on_head(bytes), !admits) << bytes;
    (admits ? admitted : refused) += 1;
  }
  EXPECT_GT(admitted, 0);
  EXPECT_GT(refused, 0);
}

TEST_F(BusyHost, GlancesLeaveNothingInTheQueue) {
  overload();
  const uint32_t waiting = admission_.waiting_total();
  for (ipc::RequestId id = 2000; id < 2100; ++id) admission_.glance(arrival(id), kNow_ns);
  EXPECT_EQ(admission_.waiting_total(), waiting);
}

TEST_F(BusyHost, AHeadThatDoesNotTellItsModelGetsATicketForAnyOfThem) {
  overload();
  auto event = arrival(2000);
  event.any_model = event.any_class = true;
  ASSERT_TRUE(admission_.too_late_by_glance(event, kNow_ns));
  const auto refusal = admission_.glance(event, kNow_ns);
  ASSERT_TRUE(refusal && refusal->booked);
  const uint64_t told_ns = kNow_ns + refusal->retry_after_ms * kMillisecond_ns;
  event.ticket = refusal->ticket;
  EXPECT_FALSE(admission_.too_late_by_glance(event, told_ns)) << "it comes for its slot";
  event.any_model = event.any_class = false;  // the body told them
  event.body_hash = 77;
  event.request = 2001;
  AdmissionActions actions;
  admission_.step(event, told_ns, actions);
  EXPECT_TRUE(admission_.view(2001) && admission_.view(2001)->booked);
}

TEST_F(BusyHost, ASlotOfAHeadThatToldLittleIsFoundWithoutItsTicket) {
  overload();
  auto event = arrival(2000);
  event.any_model = true;
  const auto refusal = admission_.glance(event, kNow_ns);
  ASSERT_TRUE(refusal && refusal->booked);
  const uint64_t told_ns = kNow_ns + refusal->retry_after_ms * kMillisecond_ns;
  event.any_model = false;
  event.body_hash = 77;
  event.request = 2001;
  AdmissionActions actions;
  admission_.step(event, told_ns, actions);
  EXPECT_TRUE(admission_.view(2001) && admission_.view(2001)->booked);
}

TEST_F(BusyHost, ALookAtAHeadBooksNothing) {
  overload();
  const size_t open = admission_.bookings().calendar().open();
  EXPECT_TRUE(admission_.too_late_by_glance(arrival(2000), kNow_ns));
  EXPECT_EQ(admission_.bookings().calendar().open(), open);
}

}  // namespace
}  // namespace deepserve::daemon
