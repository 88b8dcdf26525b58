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
  EXPECT_EQ(shelf.find(1), nullptr);
  ASSERT_NE(shelf.find(2), nullptr);
  EXPECT_EQ(shelf.find(2)->request, 2u);
}

}  // namespace
}  // namespace deepserve::daemon
