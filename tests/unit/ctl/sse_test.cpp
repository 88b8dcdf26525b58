#include "ctl/sse.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepserve::ctl {
namespace {

std::vector<SseEvent> events_of(const std::vector<std::string_view>& pieces) {
  SseReader reader;
  std::vector<SseEvent> events;
  for (const std::string_view piece : pieces) {
    reader.feed(piece);
    while (auto event = reader.next()) events.push_back(std::move(*event));
  }
  return events;
}

constexpr std::string_view kStream =
    ": keep-alive\n\n"
    "id: 7:1\r\ndata: {\"a\": 1}\r\n\r\n"
    "data:first\rdata: second\r\r"
    "event: error\ndata: {\"error\": {}}\n\n"
    "data\n\n"
    "data: [DONE]\n\n";

void expect_all_of_the_stream(const std::vector<SseEvent>& events) {
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].id, "7:1");
  EXPECT_EQ(events[0].data, "{\"a\": 1}");
  EXPECT_EQ(events[1].data, "first\nsecond");
  EXPECT_EQ(events[1].event, "");
  EXPECT_EQ(events[2].event, "error");
  EXPECT_EQ(events[2].data, "{\"error\": {}}");
  EXPECT_EQ(events[3].data, "");
  EXPECT_EQ(events[4].data, "[DONE]");
}

TEST(Sse, EventsAreTheSameWhereverTheBytesAreSplit) {
  for (size_t cut = 0; cut <= kStream.size(); ++cut) {
    SCOPED_TRACE(cut);
    expect_all_of_the_stream(events_of({kStream.substr(0, cut), kStream.substr(cut)}));
  }
}

TEST(Sse, EventsAreTheSameByteByByte) {
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < kStream.size(); ++i) bytes.push_back(kStream.substr(i, 1));
  expect_all_of_the_stream(events_of(bytes));
}

TEST(Sse, AnEventThatWasNotEndedIsNotGiven) {
  EXPECT_TRUE(events_of({"data: half\n"}).empty());
}

TEST(Sse, CommentsAndBlankLinesAloneAreNoEvents) {
  EXPECT_TRUE(events_of({":\n\n\n\n: x\n\nevent: y\n\n"}).empty());
}

}  // namespace
}  // namespace deepserve::ctl
