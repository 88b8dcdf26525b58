#include "runner/model/tokenizer/special_tokens.h"

#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

TEST(SpecialTokens, TheLeftmostIsFoundAndOfThoseThatBeginThereTheLongest) {
  SpecialTokens specials;
  specials.add("<|a|>", 1);
  specials.add("<|a|><|b|>", 2);
  specials.add("a|", 3);
  const auto match = specials.find("x<|a|><|b|>", 0);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 1u);
  EXPECT_EQ(match->bytes, 10u);
  EXPECT_EQ(match->token, 2u);
}

TEST(SpecialTokens, ALongerOneThatDoesNotFinishLeavesTheShorterOne) {
  SpecialTokens specials;
  specials.add("<t>", 1);
  specials.add("<t><u", 2);
  const auto match = specials.find("<t><v", 0);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->token, 1u);
  EXPECT_FALSE(specials.find("<t><v", 3));
}

TEST(SpecialTokens, OfTwoTokensWithOneTextTheFirstIsFound) {
  SpecialTokens specials;
  specials.add("<t>", 7);
  specials.add("<t>", 8);
  EXPECT_EQ(specials.find("<t>", 0)->token, 7u);
}

TEST(SpecialTokens, NothingIsFoundInEmptyTextOrWithoutTokens) {
  SpecialTokens specials;
  EXPECT_FALSE(specials.find("text", 0));
  specials.add("x", 1);
  EXPECT_FALSE(specials.find("", 0));
}

}  // namespace
}  // namespace deepserve::runner
