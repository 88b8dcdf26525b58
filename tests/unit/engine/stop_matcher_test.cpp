#include "runner/engine/stop_matcher.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepserve::runner {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
};

Outcome feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const auto& piece : pieces) {
    if (matcher.append(piece, outcome.text)) {
      outcome.stopped = true;
      return outcome;
    }
  }
  matcher.flush(outcome.text);
  return outcome;
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStopStringAndGivesItWhenItDoesNot) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(stops);
  std::string out;
  EXPECT_FALSE(matcher.append("an E", out));
  EXPECT_EQ(out, "an ");
  EXPECT_FALSE(matcher.append("N", out));
  EXPECT_EQ(out, "an ");
  EXPECT_FALSE(matcher.append("T", out));
  EXPECT_EQ(out, "an ENT");
}

TEST(StopMatcher, FindsAStopStringHoweverItIsCut) {
  const std::string text = "one two END three";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const auto outcome = feed({"END"}, {text.substr(0, cut), text.substr(cut)});
    EXPECT_TRUE(outcome.stopped) << cut;
    EXPECT_EQ(outcome.text, "one two ") << cut;
  }
}

TEST(StopMatcher, TheStopStringThatIsCompletedFirstWinsHoweverTheTextIsCut) {
  const std::string text = "xabcdy";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(feed({"abcd", "bc"}, {text.substr(0, cut), text.substr(cut)}).text, "xa") << cut;
    EXPECT_EQ(feed({"c", "abc"}, {text.substr(0, cut), text.substr(cut)}).text, "x") << cut;
  }
}

TEST(StopMatcher, ARepeatedBeginningIsNotLost) {
  EXPECT_EQ(feed({"aab"}, {"a", "a", "a", "b", "c"}).text, "a");
  EXPECT_TRUE(feed({"aab"}, {"a", "a", "a", "b"}).stopped);
}

TEST(StopMatcher, TextWithoutStopStringsComesThroughWhole) {
  EXPECT_EQ(feed({}, {"a", "b"}).text, "ab");
  EXPECT_EQ(feed({"xyz"}, {"ab x", "y"}).text, "ab xy");
}

}  // namespace
}  // namespace deepserve::runner
