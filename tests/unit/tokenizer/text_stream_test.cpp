#include "runner/model/tokenizer/text_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/tokenizer/made_vocabulary.h"

namespace deepserve::runner {
namespace {

std::unique_ptr<Tokenizer> bytes_only() {
  return *Tokenizer::make(byte_vocabulary("gpt-2"));
}

TEST(TextStream, ACharacterComesWhenItsLastByteDoes) {
  const auto tokenizer = bytes_only();
  TextStream stream(*tokenizer, true);
  EXPECT_EQ(stream.append('a'), "a");
  EXPECT_EQ(stream.append(0xf0), "");
  EXPECT_EQ(stream.append(0x9f), "");
  EXPECT_EQ(stream.append(0x98), "");
  EXPECT_EQ(stream.append(0x80), "😀");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, BytesThatCannotBecomeACharacterAreReplacedAtOnce) {
  const auto tokenizer = bytes_only();
  TextStream stream(*tokenizer, true);
  EXPECT_EQ(stream.append(0xff), "\uFFFD");
  EXPECT_EQ(stream.append(0xe4), "");
  EXPECT_EQ(stream.append('b'),
            "\uFFFD"
            "b");
  EXPECT_EQ(stream.append(0xe4), "");
  EXPECT_EQ(stream.append(0xe4), "\uFFFD");
}

TEST(TextStream, WhatIsUnfinishedAtTheEndIsReplaced) {
  const auto tokenizer = bytes_only();
  TextStream stream(*tokenizer, true);
  stream.append(0xf0);
  stream.append(0x9f);
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, AnyBytesGiveTheTextThatDecodingAllAtOnceGives) {
  const auto tokenizer = bytes_only();
  std::mt19937 random(3);
  constexpr uint8_t kInteresting[] = {0x00, 0x41, 0x80, 0x9f, 0xa0, 0xbf, 0xc2,
                                      0xe0, 0xe4, 0xed, 0xf0, 0xf4, 0xff};
  for (int round = 0; round < 2000; ++round) {
    std::vector<TokenId> tokens(random() % 24);
    for (TokenId& token : tokens) token = kInteresting[random() % std::size(kInteresting)];
    TextStream stream(*tokenizer, true);
    std::string text;
    for (TokenId token : tokens) text += stream.append(token);
    text += stream.finish();
    ASSERT_EQ(text, tokenizer->decode(tokens)) << "round " << round;
    ASSERT_EQ(utf8_valid_prefix(text), text.size());
  }
}

TEST(TextStream, TheFirstSpaceOfSentencePieceGoesOnlyAtTheStart) {
  const auto tokenizer = *Tokenizer::make(piece_vocabulary({{"▁a", 0}}));
  const TokenId a = 259;
  TextStream at_start(*tokenizer, true);
  EXPECT_EQ(at_start.append(1), "");
  EXPECT_EQ(at_start.append(a), "a");
  EXPECT_EQ(at_start.append(a), " a");
  TextStream inside(*tokenizer, false);
  EXPECT_EQ(inside.append(a), " a");
}

TEST(TextStream, ControlTokensAreLeftOutButForTheMarksOfToolCalls) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  const TokenId end = add_token(vocabulary, "<|eom_id|>", TokenKind::kControl);
  const TokenId call = add_token(vocabulary, "<|python_tag|>", TokenKind::kControl);
  const auto tokenizer = *Tokenizer::make(vocabulary);
  TextStream stream(*tokenizer, true);
  EXPECT_EQ(stream.append(end), "");
  EXPECT_EQ(stream.append(call), "<|python_tag|>");
}

}  // namespace
}  // namespace deepserve::runner
