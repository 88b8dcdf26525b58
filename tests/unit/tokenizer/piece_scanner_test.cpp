#include "runner/model/tokenizer/piece_scanner.h"

#include <gtest/gtest.h>

#include "runner/model/tokenizer/pre_tokenizer.h"
#include "tests/unit/tokenizer/pcre2_pieces.h"

namespace deepserve::runner {
namespace {

constexpr std::string_view kKnown[] = {
    kGpt2Expression,        kQwen2Expression, kLlama3Expression, kDeepSeekV3Expression,
    kThreeDigitsExpression, kDigitExpression, kCjkExpression,    kTrailingSpacesExpression,
};

std::vector<std::string_view> pieces_of(std::string_view expression, std::string_view text) {
  const SplitStep step{.pattern = std::string(expression)};
  const Result<PreTokenizer> made = PreTokenizer::make({&step, 1});
  EXPECT_TRUE(made);
  std::vector<std::string_view> pieces;
  made->split(text, pieces);
  return pieces;
}

TEST(PieceScanner, EveryKnownExpressionIsCutAsPcre2CutsIt) {
  for (std::string_view expression : kKnown) {
    ASSERT_NE(scanner_for(expression), nullptr);
    const Pcre2Pattern pattern(expression);
    std::mt19937 random(5);
    for (int round = 0; round < 20'000; ++round) {
      const std::string text = random_text(random);
      ASSERT_EQ(pieces_of(expression, text), pattern.pieces(text)) << expression << " round " << round;
    }
  }
}

TEST(PieceScanner, EveryKnownExpressionIsCutAsOurOwnMatcherCutsIt) {
  for (std::string_view expression : kKnown) {
    const Result<SplitPattern> pattern = SplitPattern::make(expression);
    ASSERT_TRUE(pattern) << pattern.error().message;
    std::mt19937 random(6);
    for (int round = 0; round < 5'000; ++round) {
      const std::string text = random_text(random);
      uint64_t steps = 1'000'000;
      std::vector<std::string_view> expected;
      size_t done = 0;
      while (const auto match = pattern->find(text, done, steps)) {
        if (match->begin > done) expected.push_back(std::string_view(text).substr(done, match->begin - done));
        expected.push_back(std::string_view(text).substr(match->begin, match->end - match->begin));
        done = match->end;
      }
      if (done < text.size()) expected.push_back(std::string_view(text).substr(done));
      ASSERT_EQ(pieces_of(expression, text), expected) << expression << " round " << round;
    }
  }
}

TEST(PieceScanner, OnlyThePublishedTextsAreKnown) {
  EXPECT_EQ(scanner_for(""), nullptr);
  EXPECT_EQ(scanner_for(R"(\p{N}{1,4})"), nullptr);
  EXPECT_EQ(scanner_for(std::string(kQwen2Expression) + " "), nullptr);
}

}  // namespace
}  // namespace deepserve::runner
