#include "runner/model/tokenizer/split_pattern.h"

#include <gtest/gtest.h>

#include "tests/unit/tokenizer/pcre2_pieces.h"

namespace deepserve::runner {
namespace {

std::vector<std::string_view> pieces_of(const SplitPattern& pattern, std::string_view text) {
  std::vector<std::string_view> pieces;
  uint64_t steps = 1'000'000;
  size_t done = 0;
  while (const auto match = pattern.find(text, done, steps)) {
    if (match->begin > done) pieces.push_back(text.substr(done, match->begin - done));
    pieces.push_back(text.substr(match->begin, match->end - match->begin));
    done = match->end;
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
  EXPECT_GT(steps, 0u);
  return pieces;
}

TEST(SplitPattern, MatchesAsPcre2Does) {
  for (std::string_view expression : {
           R"(a|s|t)",
           R"([a-eL-T\d]+)",
           R"([^a-z\s]{2,3})",
           R"((?:ab|a|b)+?[^x])",
           R"((?:a|e|\p{L}\p{M}){2,}x?)",
           R"((?:\p{Lu}|[\r\n ])*+.)",
           R"(\p{L}+(?=\s)|\P{L}+(?!\p{N}))",
           R"((?<=\p{L})\p{N}|(?<!\s)\s+)",
           R"((?<!a|b)[!-/])",
           R"((?>\s+|a)\S)",
           R"(^\s*\p{L}|\p{N}$)",
           R"(\A.|.\z)",
           R"((?i:tre|[l-v]+')\S?)",
           R"((?:(?:a|b){1,2}|\p{N}?\s){2}|'+)",
           R"(\p{L}*?\d|[^\p{L}\r\n]+|.??\n)",
           R"((\p{L}+)(\p{P}*)|[\x{300}-\x{301}\u3042])",
       }) {
    const Result<SplitPattern> pattern = SplitPattern::make(expression);
    ASSERT_TRUE(pattern) << expression << ": " << pattern.error().message;
    const Pcre2Pattern expected(expression);
    std::mt19937 random(8);
    for (int round = 0; round < 3'000; ++round) {
      const std::string text = random_text(random);
      ASSERT_EQ(pieces_of(*pattern, text), expected.pieces(text)) << expression << " round " << round;
    }
  }
}

TEST(SplitPattern, WhatIsNotSupportedIsRefusedWithItsOffset) {
  const std::pair<std::string_view, std::string_view> kRefused[] = {
      {"a(?R)", "offset 2: the group \"(?R\""},
      {"a\\1", "offset 2: \"\\1\""},
      {"\\bword", "offset 1: \"\\b\""},
      {"\\w+", "offset 1: \"\\w\""},
      {"\\p{Han}+", "offset 2: the property \"Han\""},
      {"[a[b]]", "offset 2: a set inside of a set"},
      {"[a&&b]", "offset 2: a set inside of a set"},
      {"[[:alpha:]]", "offset 1: a set inside of a set"},
      {"[z-a]", "offset 4: such a range"},
      {"[a", "offset 2: an unclosed \"[\""},
      {"(a", "offset 2: an unclosed \"(\""},
      {"a)", "offset 1: an unopened \")\""},
      {"*a", "offset 0: \"*\" here"},
      {"a{2", "offset 3: such a repeat"},
      {"a{3,2}", "offset 6: such a repeat"},
      {"a{99999}", "offset 7: a repeat of more than 10000"},
      {"a**", "offset 2: \"*\" after a repeat"},
      {"a*", "offset 2: an expression that can match nothing"},
      {"", "offset 0: an expression that can match nothing"},
      {"a|", "offset 2: an expression that can match nothing"},
      {"(?:a?)*b", "offset 7: a repeat of what may be empty"},
      {"(?<=a+)b", "offset 7: a look behind of no fixed length"},
      {"(?i:é)", "offset 6: a letter beyond ASCII inside of (?i:)"},
      {"(?<name>a)", "offset 1: the group \"(?<\""},
      {"(*UTF)a", "offset 1: the group \"(*U\""},
      {"\\", "offset 1: a backslash at the end"},
      {"\\x{110000}", "offset 10: a number that is no code point"},
      {"\xff", "offset 0: text that is no UTF-8"},
  };
  for (const auto& [expression, what] : kRefused) {
    const Result<SplitPattern> pattern = SplitPattern::make(expression);
    ASSERT_FALSE(pattern) << expression;
    EXPECT_EQ(pattern.error().code, Code::kNotSupported);
    EXPECT_NE(pattern.error().message.find(what), std::string::npos)
        << expression << ": " << pattern.error().message;
  }
}

TEST(SplitPattern, BombsAreRefused) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep = std::string("(").append(deep).append("a)");
  for (const std::string& bomb :
       {std::string("(?:(?:(?:a{2}b){1000}){1000}){1000}"), deep, std::string(100'000, 'a'),
        std::string("(?:abcdefgh|ab){10000}"), std::string(60'000, '|') + "a"}) {
    const Result<SplitPattern> pattern = SplitPattern::make(bomb);
    ASSERT_FALSE(pattern) << bomb.substr(0, 40);
    EXPECT_EQ(pattern.error().code, Code::kNotSupported);
  }
}

// Each of these takes a backtracking engine a square or worse of the text's length.
TEST(SplitPattern, NoExpressionTakesMoreStepsThanItIsGiven) {
  const std::string text = std::string(1 << 20, 'a') + "!";
  for (std::string_view expression :
       {"(?:a+a+)+b", "a*a*a*a*b", "(?:a|aa)+$", "[a-z]+[0-9]", "(?=a*a*b)a", "(?:a|a|a)+?b", "(?>a+)b"}) {
    const Result<SplitPattern> pattern = SplitPattern::make(expression);
    ASSERT_TRUE(pattern) << expression;
    uint64_t steps = 3'000'000;
    EXPECT_FALSE(pattern->find(text, 0, steps)) << expression;
    EXPECT_EQ(steps, 0u) << expression;
  }
}

}  // namespace
}  // namespace deepserve::runner
