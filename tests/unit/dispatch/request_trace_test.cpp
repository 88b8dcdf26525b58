#include "daemon/dispatch/request_trace.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(RequestTrace, EveryKindHasAName) {
  for (uint8_t i = 0; i < static_cast<uint8_t>(TraceKind::kCount); ++i) {
    EXPECT_FALSE(trace_kind_name(static_cast<TraceKind>(i)).empty());
  }
  EXPECT_EQ(trace_kind_name(TraceKind::kFirstToken), "first_token");
  EXPECT_EQ(trace_kind_name(TraceKind::kCancelled), "cancelled");
}

TEST(RequestTrace, OfALongLifeTheBeginningAndTheEndStay) {
  constexpr size_t kMax = RequestTrace::kEventsMax;
  RequestTrace trace;
  for (uint64_t i = 0; i < kMax + 10; ++i) trace.add({.kind = TraceKind::kRunnerDied, .at_ns = i});
  ASSERT_EQ(trace.events().size(), kMax);
  EXPECT_EQ(trace.left_out(), 10u);
  EXPECT_EQ(trace.events()[kMax / 2 - 1].at_ns, kMax / 2 - 1);
  EXPECT_EQ(trace.events()[kMax / 2].at_ns, kMax / 2 + 10);
  EXPECT_EQ(trace.events().back().at_ns, kMax + 9);
}

TEST(TraceShelf, KeepsTheLastOnes) {
  TraceShelf shelf;
  for (ipc::RequestId id = 1; id <= TraceShelf::kTracesMax + 1; ++id) {
    RequestTrace trace;
    trace.request = id;
    shelf.put(trace);
  }
  EXPECT_EQ(shelf.size(), TraceShelf::kTracesMax);
  EXPECT_FALSE(shelf.find(1));
  ASSERT_TRUE(shelf.find(2));
  EXPECT_EQ(shelf.find(2)->request, 2u);
}

TEST(TraceShelf, GivesBackAllThatWasPutThere) {
  RequestTrace trace;
  trace.request = 7;
  trace.client = "uid:0";
  trace.model = "tiny";
  trace.endpoint = "/v1/chat/completions";
  trace.service_class = ipc::Class::kBatch;
  for (uint64_t i = 0; i < RequestTrace::kEventsMax; ++i)
    trace.add({.kind = TraceKind::kArrived, .at_ns = i});
  trace.add({TraceKind::kRunnerDied, 99, "tiny@cpu0", 4711, 12, "killed by signal 9"});
  TraceShelf shelf;
  shelf.put(trace);
  const auto found = shelf.find(7);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->client, trace.client);
  EXPECT_EQ(found->model, trace.model);
  EXPECT_EQ(found->endpoint, trace.endpoint);
  EXPECT_EQ(found->service_class, trace.service_class);
  EXPECT_EQ(found->left_out(), 1u);
  EXPECT_EQ(found->events(), trace.events());
}

}  // namespace
}  // namespace deepserve::daemon
