#include "daemon/admission/class_queue.h"

#include <gtest/gtest.h>

#include <map>

namespace deepserve::daemon {
namespace {

using ipc::Class;

constexpr ClassQueue::Limits kLimits{{{0.70, 4000}, {0.25, 4000}, {0.05, 4000}}};

constexpr uint64_t kBytesMax = 1000;

WaitingRequest request(ipc::RequestId id, Class service_class, std::string client = "a",
                       uint64_t expires_ns = 0) {
  return {id, service_class, 0, std::move(client), 1.0, expires_ns, 0};
}

ipc::RequestId take(ClassQueue& queue, uint32_t model = 0) {
  const auto next = queue.next(model);
  if (next != 0) queue.taken(next);
  return next;
}

TEST(ClassQueue, AVipGoesAheadOfEarlierNormalAndBatch) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kBatch)));
  ASSERT_TRUE(queue.push(request(2, Class::kNormal)));
  ASSERT_TRUE(queue.push(request(3, Class::kVip)));
  EXPECT_EQ(take(queue), 3u);
  EXPECT_EQ(take(queue), 2u);
  EXPECT_EQ(take(queue), 1u);
  EXPECT_EQ(take(queue), 0u);
}

TEST(ClassQueue, EachClassGetsItsShareWhenAllAreBackloggedAndNoneStarves) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  std::map<ipc::RequestId, Class> classes;
  for (ipc::RequestId id = 1; id <= 3000; ++id) {
    const auto service_class = static_cast<Class>(id % 3);
    classes[id] = service_class;
    ASSERT_TRUE(queue.push(request(id, service_class)));
  }
  std::map<Class, int> taken;
  for (int i = 0; i < 1000; ++i) ++taken[classes[take(queue)]];
  EXPECT_NEAR(taken[Class::kVip], 700, 2);
  EXPECT_NEAR(taken[Class::kNormal], 250, 2);
  EXPECT_NEAR(taken[Class::kBatch], 50, 2);
}

TEST(ClassQueue, AClassThatWasIdleHasNotSavedUpAClaim) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  ipc::RequestId id = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(queue.push(request(++id, Class::kVip)));
    take(queue);
  }
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(queue.push(request(++id, Class::kNormal)));
  const ipc::RequestId first_vip = id + 1;
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(queue.push(request(++id, Class::kVip)));
  int vips = 0;
  for (int i = 0; i < 19; ++i) vips += take(queue) >= first_vip ? 1 : 0;
  EXPECT_NEAR(vips, 14, 1);
}

TEST(ClassQueue, ClientsOfAClassTakeTurnsByWeight) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  for (ipc::RequestId id = 1; id <= 100; ++id) {
    auto heavy = request(id, Class::kNormal, "heavy");
    heavy.client_weight = 2.0;
    ASSERT_TRUE(queue.push(heavy));
  }
  for (ipc::RequestId id = 101; id <= 200; ++id)
    ASSERT_TRUE(queue.push(request(id, Class::kNormal, "light")));
  int heavy = 0;
  for (int i = 0; i < 90; ++i) heavy += take(queue) <= 100 ? 1 : 0;
  EXPECT_NEAR(heavy, 60, 2);
}

TEST(ClassQueue, RefusesWhenItsClassIsFullWhileOthersHaveRoom) {
  ClassQueue queue({{{0.70, 2}, {0.25, 1}, {0.05, 1}}}, 1, kBytesMax);
  EXPECT_TRUE(queue.push(request(1, Class::kVip)));
  EXPECT_TRUE(queue.push(request(2, Class::kVip)));
  EXPECT_FALSE(queue.push(request(3, Class::kVip)));
  EXPECT_TRUE(queue.push(request(4, Class::kNormal)));
  EXPECT_EQ(queue.waiting(Class::kVip), 2u);
  EXPECT_EQ(queue.waiting_total(), 3u);
}

TEST(ClassQueue, WhoComesForHisSlotHasAPlaceThatFreshOnesCannotTake) {
  ClassQueue queue({{{0.70, 2}, {0.25, 4000}, {0.05, 4000}}}, 1, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kVip)));
  ASSERT_TRUE(queue.push(request(2, Class::kVip)));
  auto booked = request(3, Class::kVip);
  booked.booked = true;
  EXPECT_TRUE(queue.push(booked));
  EXPECT_FALSE(queue.push(request(4, Class::kVip)));
  EXPECT_EQ(take(queue), 3u);
  EXPECT_FALSE(queue.push(request(5, Class::kVip)));
}

TEST(ClassQueue, ExpiredDeadlinesAreTakenOutInOrderAndOthersStay) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kNormal, "a", 300)));
  ASSERT_TRUE(queue.push(request(2, Class::kVip, "a", 100)));
  ASSERT_TRUE(queue.push(request(3, Class::kVip, "a", 301)));
  ASSERT_TRUE(queue.push(request(4, Class::kVip, "a", 0)));
  EXPECT_EQ(queue.next_expiry_ns(), 100u);
  EXPECT_EQ(queue.take_expired(300), (std::vector<ipc::RequestId>{2, 1}));
  EXPECT_EQ(queue.next_expiry_ns(), 301u);
  EXPECT_TRUE(queue.waits(3));
  EXPECT_TRUE(queue.waits(4));
}

TEST(ClassQueue, ReplaysGoFirstAndAreNeverRefused) {
  ClassQueue queue({{{0.70, 1}, {0.25, 1}, {0.05, 1}}}, 1, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kVip, "a", 10)));
  queue.push_replay(request(7, Class::kBatch));
  queue.push_replay(request(8, Class::kBatch));
  queue.push_replay(request(9, Class::kBatch, "a", 20));
  EXPECT_EQ(queue.take_expired(1'000'000), (std::vector<ipc::RequestId>{1, 9}));
  EXPECT_EQ(take(queue), 7u);
  EXPECT_EQ(take(queue), 8u);
}

TEST(ClassQueue, ModelsHaveLinesOfTheirOwn) {
  ClassQueue queue(kLimits, 2, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kVip)));
  auto other = request(2, Class::kBatch);
  other.model = 1;
  ASSERT_TRUE(queue.push(other));
  EXPECT_EQ(take(queue, 1), 2u);
  EXPECT_EQ(take(queue, 1), 0u);
  EXPECT_EQ(take(queue, 0), 1u);
  EXPECT_EQ(queue.waiting_total(), 0u);
}

TEST(ClassQueue, AModelThatOnlyLoadsDoesNotFillTheQueueOfAnother) {
  ClassQueue queue({{{0.70, 1}, {0.25, 1}, {0.05, 1}}}, 2, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kNormal)));
  EXPECT_FALSE(queue.push(request(2, Class::kNormal)));
  auto other = request(3, Class::kNormal);
  other.model = 1;
  EXPECT_TRUE(queue.push(other));
  EXPECT_EQ(queue.waiting(Class::kNormal, 0), 1u);
}

TEST(ClassQueue, TheBytesOfAllThatWaitAreBoundedAndComeBack) {
  ClassQueue queue(kLimits, 2, kBytesMax);
  const auto with_bytes = [](ipc::RequestId id, uint64_t bytes) {
    auto one = request(id, id % 2 == 0 ? Class::kVip : Class::kBatch);
    one.bytes = bytes;
    one.model = static_cast<uint32_t>(id % 2);
    return one;
  };
  EXPECT_TRUE(queue.push(with_bytes(1, 600)));
  EXPECT_FALSE(queue.push(with_bytes(2, 401)));
  EXPECT_TRUE(queue.push(with_bytes(3, 400)));
  EXPECT_EQ(take(queue, 1), 1u);
  EXPECT_TRUE(queue.push(with_bytes(4, 600)));
  queue.push_replay(with_bytes(5, 10));
  EXPECT_EQ(queue.waiting_bytes(), 1010u);
}

TEST(ClassQueue, ARemovedRequestLeavesNothingBehind) {
  ClassQueue queue(kLimits, 1, kBytesMax);
  ASSERT_TRUE(queue.push(request(1, Class::kVip, "a", 50)));
  EXPECT_TRUE(queue.remove(1));
  EXPECT_FALSE(queue.remove(1));
  EXPECT_EQ(queue.next(0), 0u);
  EXPECT_EQ(queue.next_expiry_ns(), 0u);
  EXPECT_EQ(queue.waiting_total(), 0u);
}

}  // namespace
}  // namespace deepserve::daemon
