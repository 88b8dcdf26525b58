#include "runner/model/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>

namespace deepserve::runner {
namespace {

Result<PreTokenizer> named(std::string_view name) {
  TRY_ASSIGN(const PreTokenizer::Named* found, PreTokenizer::find_named(name));
  return PreTokenizer::make(*found);
}

std::string pieces_of(std::string_view name, std::string_view text) {
  const Result<PreTokenizer> made = named(name);
  EXPECT_TRUE(made);
  std::vector<std::string_view> pieces;
  made->split(text, pieces);
  std::string joined;
  for (std::string_view piece : pieces) joined.append(joined.empty() ? "" : "|").append(piece);
  return joined;
}

struct Example {
  std::string_view name;
  std::string_view text;
  std::string_view pieces;
};

constexpr std::string_view kEnglish =
    "Hello world, I'm here: don't SHOUT'LL  you\r\n\r\n  x1234567 y\t\tz \n end  ";
constexpr std::string_view kMixed = "naïve e\u0301 日本語テスト 你好。 12３４ a\u00a0b\u180ec";
constexpr std::string_view kCode = "if (x==10){ foo_bar(); }//!";

// Made with Hugging Face tokenizers 0.23, from each model's published tokenizer.json.
const Example kExamples[] = {
    {"gpt-2", kEnglish,
     "Hello| world|,| I|'m| here|:| don|'t| SHOUT|'|LL| | you|\r\n\r\n | x|1234567| y|\t|\t|z| \n| end|  "},
    {"gpt-2", kMixed, "naïve| e|\u0301| 日本語テスト| 你好|。| 12３４| a|\u00a0|b|\u180e|c"},
    {"gpt-2", kCode, "if| (|x|==|10|){| foo|_|bar|();| }//!"},
    {"smollm", kEnglish,
     "Hello| world|,| I|'m| here|:| don|'t| SHOUT|'|LL| | you|\r\n\r\n | x|1|2|3|4|5|6|7| y|\t|\t|z| \n| "
     "end|  "},
    {"smollm", kMixed, "naïve| e|\u0301| 日本語テスト| 你好|。| |1|2|３|４| a|\u00a0|b|\u180e|c"},
    {"qwen2", kEnglish,
     "Hello| world|,| I|'m| here|:| don|'t| SHOUT|'LL| | you|\r\n\r\n| | x|1|2|3|4|5|6|7| "
     "y|\t|\tz| \n| end| "
     " "},
    {"qwen2", kMixed, "naïve| e|\u0301| 日本語テスト| 你好|。| |1|2|３|４| a|\u00a0b|\u180ec"},
    {"qwen2", kCode, "if| (|x|==|1|0|){| foo|_bar|();| }//!"},
    {"llama-bpe", kEnglish,
     "Hello| world|,| I|'m| here|:| don|'t| SHOUT|'LL| | you|\r\n\r\n| | x|123|456|7| y|\t|\tz| \n| end|  "},
    {"llama-bpe", kMixed, "naïve| e|\u0301| 日本語テスト| 你好|。| |12３|４| a|\u00a0b|\u180ec"},
    {"deepseek-llm", kEnglish,
     "Hello| world|,| I|'|m| here|:| don|'|t| SHOUT|'|LL| | you|\r|\n|\r|\n| | x|1|2|3|4|5|6|7| "
     "y|\t|\tz| "
     "|\n| end|  "},
    {"deepseek-llm", kMixed, "na|ï|ve| e|\u0301 |日本語テスト| |你好|。| |1|2|３|４| a|\u00a0b|\u180e|c"},
    {"deepseek-coder", kEnglish,
     "Hello| world|,| I|'|m| here|:| don|'|t| SHOUT|'|LL| | you|\r|\n|\r|\n| | x|1|2|3|4|5|6|7| "
     "y|\t|\tz| "
     "|\n| end|  "},
    {"deepseek-coder", kMixed, "naïve| e|\u0301| |日本語テスト| |你好|。| |1|2|３|４| a|\u00a0b|\u180e|c"},
    {"deepseek-v3", kEnglish,
     "Hello| world|,| I|'m| here|:| don|'t| SHOUT|'LL| | you|\r\n\r\n| | x|123|456|7| y|\t|\tz| \n| end|  "},
    {"deepseek-v3", kMixed, "naïve| e\u0301| |日本語テスト| |你好|。| |12３|４| a|\u00a0b|\u180ec"},
    {"deepseek-v3", kCode, "if| (|x|==|10|){| foo|_bar|();| }//!"},
};

TEST(PreTokenizer, CutsAsThePublishedTokenizersDo) {
  for (const Example& example : kExamples) {
    EXPECT_EQ(pieces_of(example.name, example.text), example.pieces) << example.name;
  }
}

TEST(PreTokenizer, ContractionsOfQwenKnowTheLongS) {
  EXPECT_EQ(pieces_of("qwen2", "'\u017f x"), "'\u017f| x");
  EXPECT_EQ(pieces_of("gpt-2", "'\u017f x"), "'|\u017f| x");
}

TEST(PreTokenizer, BytesThatAreNoUtf8ArePiecesOfTheirOwn) {
  EXPECT_EQ(pieces_of("qwen2", "ab\xff\xfe cd"), "ab|\xff\xfe| cd");
  EXPECT_EQ(pieces_of("deepseek-v3", "\xe4\xbd"), "\xe4\xbd");
  EXPECT_EQ(pieces_of("gpt-2", ""), "");
}

TEST(PreTokenizer, AnUnknownNameIsRefusedByName) {
  const auto made = PreTokenizer::find_named("viking");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kNotSupported);
  EXPECT_NE(made.error().message.find("\"viking\""), std::string::npos);
}

TEST(PreTokenizer, OnlyLlama3PutsWholePiecesFirst) {
  EXPECT_TRUE((*PreTokenizer::find_named("llama-bpe"))->whole_pieces_first);
  EXPECT_FALSE((*PreTokenizer::find_named("qwen2"))->whole_pieces_first);
}

// Runs that a backtracking engine could scan once per start: with a square each would take minutes.
TEST(PreTokenizer, LongRunsAreCutInLinearTime) {
  for (std::string_view name :
       {"gpt-2", "smollm", "qwen2", "llama-bpe", "deepseek-llm", "deepseek-coder", "deepseek-v3"}) {
    const Result<PreTokenizer> made = named(name);
    for (std::string_view unit : {" ", "a", "\n", "!", "1", "中", "\u0301", " \n", "' ", "\xff"}) {
      std::string text;
      while (text.size() < (1 << 18)) text.append(unit);
      text.append("x");
      std::vector<std::string_view> pieces;
      made->split(text, pieces);
      size_t bytes = 0;
      for (std::string_view piece : pieces) bytes += piece.size();
      EXPECT_EQ(bytes, text.size()) << name;
    }
  }
}

// A model's file chooses the expression, a client the text: together they must not hold the runner.
TEST(PreTokenizer, AHostileExpressionLeavesTextWholeWhenItsStepsAreUsedUp) {
  for (std::string_view expression : {"(?:a+a+)+b", "a*a*a*a*b", "[a-z]+[0-9]"}) {
    const SplitStep step{.pattern = std::string(expression)};
    const Result<PreTokenizer> made = PreTokenizer::make({&step, 1});
    ASSERT_TRUE(made);
    const std::string text(1 << 18, 'a');
    std::vector<std::string_view> pieces;
    const auto begin = std::chrono::steady_clock::now();
    made->split(text, pieces);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << expression;
    EXPECT_EQ(pieces, std::vector<std::string_view>{text});
  }
}

}  // namespace
}  // namespace deepserve::runner
