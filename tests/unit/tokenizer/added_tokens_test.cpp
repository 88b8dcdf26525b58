#include "runner/model/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

// What is found in `text`: the matched stretch, with its token.
std::string found_in(const AddedTokens& tokens, std::string_view text) {
  std::string found;
  size_t done = 0;
  while (const auto match = tokens.find(text, done)) {
    found.append(text.substr(match->begin, match->end - match->begin));
    found.append("=").append(std::to_string(match->token)).append(";");
    done = match->end;
  }
  return found;
}

TEST(AddedTokens, WhiteSpaceBesideThemIsTakenAlongWhereTheirFlagsSaySo) {
  AddedTokens tokens;
  tokens.add("<l>", {.id = 1, .strips_left = true});
  tokens.add("<r>", {.id = 2, .strips_right = true});
  EXPECT_EQ(found_in(tokens, "a \u3000\n<l> b"), " \u3000\n<l>=1;");
  EXPECT_EQ(found_in(tokens, "a <r> \u00a0\tb"), "<r> \u00a0\t=2;");
  EXPECT_EQ(found_in(tokens, "<r>  <l>"), "<r>  =2;<l>=1;") << "each space once";
}

TEST(AddedTokens, WholeWordsAreNotFoundInsideOfWords) {
  AddedTokens tokens;
  tokens.add("word", {.id = 1, .whole_word = true});
  for (std::string_view text : {"word", " word ", "(word)", "word!", "世 word 界", "word\xff"})
    EXPECT_EQ(found_in(tokens, text), "word=1;") << text;
  for (std::string_view text : {"words", "sword", "word_", "9word", "wordé", "世word", "word\u0301"})
    EXPECT_EQ(found_in(tokens, text), "") << text;
  EXPECT_EQ(found_in(tokens, "words word"), "word=1;");
}

TEST(AddedTokens, NothingIsFoundWithoutTokens) {
  EXPECT_TRUE(AddedTokens().is_empty());
  EXPECT_FALSE(AddedTokens().find("text", 0));
}

}  // namespace
}  // namespace deepserve::runner
