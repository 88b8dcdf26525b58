#include "daemon/api/position.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

std::string text_of(const StreamPosition& position) {
  std::string text;
  for (const auto& choice : position.choices) {
    text += text.empty() ? "" : ".";
    append_position(text, choice);
  }
  return text + (position.usage_told ? ":u" : "");
}

TEST(Position, ReadsWhatItWrites) {
  for (const std::string text : {"0", "5", "5.7", "-", "0.-", "5f", "5+12f", "e3", "e3+1", "5c0", "5+1c2f",
                                 "5f.7f:u", "4294967295+18446744073709551615"}) {
    const auto position = parse_position("00000000000000a1:" + text);
    ASSERT_TRUE(position) << text;
    EXPECT_EQ(position->request, 0xa1u);
    EXPECT_EQ(text_of(*position), text);
  }
}

TEST(Position, RefusesEverythingElse) {
  for (const std::string text :
       {"", "1", "00000000000000a1", "00000000000000a1:", "00000000000000a1:x", "00000000000000a1:5:",
        "00000000000000a1:5.", "00000000000000a1:5g", "00000000000000a1:5ff", "00000000000000a1:-1",
        "00000000000000a1:4294967296", "00000000000000a1:5+", "00000000000000a1:5c", "0000000000000a1:5",
        "00000000000000g1:5", "+0000000000000a1:5", "00000000000000a1:5:u:u", "00000000000000a1: 5"}) {
    EXPECT_FALSE(parse_position(text)) << text;
  }
}

}  // namespace
}  // namespace deepserve::daemon
