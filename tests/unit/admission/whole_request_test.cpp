// Requests of several prompts, or of several choices: served or refused as a whole, on one ticket.
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/admission/admission.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

// One runner with one seat: 1000 tokens of prompt and 100 of answer a second.
class SlowHost : public testing::Test {
 protected:
  SlowHost() : admission_(AdmissionOptions{}) {
    RunnerUp up;
    up.capacity.sequences_max = 1;
    tell(up, kNow_ns);
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1000;
    told.gauges.step_fixed_seconds = 0.010;
    tell(told, kNow_ns);
  }
  static Arrived arrival(ipc::RequestId id, uint64_t body_hash) {
    Arrived event;
    event.request = id;
    event.client = "a";
    event.prompt_bytes = 400;
    event.tokens_max = 200;
    event.body_hash = body_hash;
    event.body_bytes = 500;
    return event;
  }
  template <typename Event>
  void tell(const Event& event, uint64_t now_ns) {
    AdmissionActions actions;
    admission_.step(event, now_ns, actions);
    for (const auto& action : actions) {
      if (const auto* refusal = std::get_if<Refuse>(&action)) refused_.push_back(*refusal);
    }
  }
  // All parts of one request; its first part has the number `id`.
  void arrive(ipc::RequestId id, uint32_t parts, uint64_t now_ns, const std::string& ticket = "",
              ClientRules rules = {}) {
    for (uint32_t part = 0; part < parts; ++part) {
      auto event = arrival(id + part, 77);
      event.whole = id;
      event.whole_parts = parts;
      event.whole_prompt_bytes = parts * event.prompt_bytes;
      event.ticket = ticket;
      event.rules = rules;
      tell(event, now_ns);
    }
  }
  // Until one is refused, which is counted no more.
  void overload() {
    for (ipc::RequestId id = 1; refused_.empty() && id < 1000; ++id) tell(arrival(id, id), kNow_ns);
    ASSERT_EQ(refused_.size(), 1u);
    refused_.clear();
  }
  // Of requests with these numbers.
  size_t refused_from(ipc::RequestId first, ipc::RequestId last) const {
    return static_cast<size_t>(std::count_if(refused_.begin(), refused_.end(), [&](const Refuse& refusal) {
      return refusal.request >= first && refusal.request <= last;
    }));
  }
  double cost_of_last_slot() {
    const auto open = admission_.bookings().calendar().open();
    return admission_.bookings().calendar().find(open)->cost_s;
  }

  Admission admission_;
  std::vector<Refuse> refused_;
};

TEST_F(SlowHost, OnceAPartIsRefusedTheOthersAreAndHearOfTheSameSlot) {
  overload();
  const size_t open = admission_.bookings().calendar().open();
  arrive(2000, 4, kNow_ns);
  ASSERT_EQ(refused_.size(), 4u);
  for (const auto& refusal : refused_) {
    EXPECT_TRUE(refusal.booked);
    EXPECT_EQ(refusal.ticket, refused_[0].ticket);
    EXPECT_EQ(refusal.retry_after_ms, refused_[0].retry_after_ms);
  }
  EXPECT_EQ(admission_.bookings().calendar().open(), open + 1);
}

TEST_F(SlowHost, TheSlotIsForTheWorkOfAllParts) {
  overload();
  tell(arrival(2000, 2000), kNow_ns);
  const double one_s = cost_of_last_slot();
  arrive(3000, 4, kNow_ns);
  EXPECT_NEAR(cost_of_last_slot(), 4 * one_s, 0.2 * one_s);
}

TEST_F(SlowHost, OneTicketIsHonouredForAllParts) {
  overload();
  arrive(2000, 4, kNow_ns);
  ASSERT_TRUE(refused_.at(0).booked);
  const auto told = refused_[0];
  arrive(3000, 4, kNow_ns + told.retry_after_ms * kMillisecond_ns, told.ticket);
  EXPECT_EQ(refused_from(3000, 3003), 0u);
  for (ipc::RequestId part = 3000; part < 3004; ++part) {
    ASSERT_TRUE(admission_.view(part)) << part;
    EXPECT_TRUE(admission_.view(part)->booked) << part;
  }
  arrive(4000, 4, kNow_ns + told.retry_after_ms * kMillisecond_ns, told.ticket);
  EXPECT_FALSE(admission_.view(4000) && admission_.view(4000)->booked) << "it is used up";
}

TEST_F(SlowHost, OneTicketIsHonouredForAllChoices) {
  overload();
  auto event = arrival(2000, 77);
  event.choices = 4;
  tell(event, kNow_ns);
  ASSERT_TRUE(refused_.at(0).booked);
  event.request = 2001;
  event.ticket = refused_[0].ticket;
  tell(event, kNow_ns + refused_[0].retry_after_ms * kMillisecond_ns);
  ASSERT_EQ(refused_from(2001, 2001), 0u);
  EXPECT_TRUE(admission_.view(2001)->booked);
}

TEST_F(SlowHost, AClientsLimitCountsItOnce) {
  const ClientRules one{.concurrent_max = 1, .tokens_per_minute = 0};
  arrive(1, 2, kNow_ns, "", one);
  EXPECT_EQ(refused_.size(), 0u);
  arrive(10, 3, kNow_ns, "", one);
  ASSERT_EQ(refused_.size(), 3u);
  for (const auto& refusal : refused_) EXPECT_EQ(refusal.reason, RefusalReason::kClientRequests);
  EXPECT_EQ(admission_.clients().find("a")->denied_total, 1u);
}

}  // namespace
}  // namespace deepserve::daemon
