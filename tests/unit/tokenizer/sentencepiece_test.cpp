#include <gtest/gtest.h>

#include <cmath>

#include "runner/model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/made_vocabulary.h"

namespace deepserve::runner {
namespace {

using Specials = Tokenizer::Specials;
using Ids = std::vector<TokenId>;

constexpr TokenId kFirstByte = 3;
constexpr TokenId kFirstPiece = 3 + 256;

std::unique_ptr<Tokenizer> made(Vocabulary vocabulary) {
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::make(std::move(vocabulary));
  EXPECT_TRUE(tokenizer) << (tokenizer ? "" : tokenizer.error().message);
  return *std::move(tokenizer);
}

// Ids: ▁ +0, a +1, b +2, ab +3, ba +4, ▁a +5, ▁ab +6
Vocabulary small() {
  return piece_vocabulary(
      {{"▁", -9}, {"a", -10}, {"b", -11}, {"ab", -2}, {"ba", -1}, {"▁a", -3}, {"▁ab", -4}});
}

Ids plain(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, Specials::kPlainText);
}

TEST(SentencePiece, TheBestScoreIsMergedFirstAndOfEqualOnesTheLeftmost) {
  const auto tokenizer = made(small());
  EXPECT_EQ(plain(*tokenizer, "ab"), (Ids{kFirstPiece + 6}));
  EXPECT_EQ(plain(*tokenizer, "aba"), (Ids{kFirstPiece + 5, kFirstPiece + 4}));
  EXPECT_EQ(plain(*tokenizer, "bab"), (Ids{kFirstPiece, kFirstPiece + 4, kFirstPiece + 2}));
}

TEST(SentencePiece, ASpaceGoesBeforeTextAndAfterSpecialTokens) {
  const auto tokenizer = made(small());
  EXPECT_EQ(tokenizer->encode("a<s>a a", Specials::kParse),
            (Ids{kFirstPiece + 5, 1, kFirstPiece + 5, kFirstPiece + 5}));
  EXPECT_EQ(plain(*tokenizer, ""), Ids{});
  Vocabulary without = small();
  without.add_space_prefix = false;
  EXPECT_EQ(plain(*made(without), "a"), (Ids{kFirstPiece + 1}));
}

TEST(SentencePiece, CharactersWithoutAPieceBecomeBytes) {
  const auto tokenizer = made(small());
  EXPECT_EQ(plain(*tokenizer, "你"),
            (Ids{kFirstPiece, kFirstByte + 0xe4, kFirstByte + 0xbd, kFirstByte + 0xa0}));
  EXPECT_EQ(plain(*tokenizer, "\xff"), (Ids{kFirstPiece, kFirstByte + 0xff}));
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, "a你\n")), "a你\n");
}

TEST(SentencePiece, WithoutByteTokensTheyBecomeTheUnknownToken) {
  Vocabulary vocabulary = small();
  for (TokenKind& kind : vocabulary.kinds) {
    if (kind == TokenKind::kByte) kind = TokenKind::kUnused;
  }
  EXPECT_EQ(plain(*made(vocabulary), "a你"), (Ids{kFirstPiece + 5, 0}));
}

TEST(SentencePiece, DecodingDropsTheOneSpaceThatEncodingPutFirst) {
  const auto tokenizer = made(small());
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, "ab  a")), "ab  a");
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, " a")), " a");
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, "a\u2581a")), "a a") << "the mark in text is read as a space";
  EXPECT_EQ(tokenizer->decode(Ids{1, kFirstPiece + 5}), "a");
}

TEST(SentencePiece, ControlTokensAreNeverMadeOfWhatAUserTyped) {
  Vocabulary vocabulary = small();
  for (std::string_view piece : {"</", "s", ">", "</s", "s>", "<", "/"}) {
    add_token(vocabulary, std::string(piece), TokenKind::kNormal);
    vocabulary.scores.push_back(-1);
  }
  const auto tokenizer = made(std::move(vocabulary));
  const Ids ids = plain(*tokenizer, "</s>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2u), 0);
  EXPECT_EQ(tokenizer->decode(ids), "</s>");
  EXPECT_TRUE(tokenizer->ends_generation(2));
}

TEST(SentencePiece, AMegabyteIsMergedWithoutASquare) {
  const auto tokenizer = made(small());
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, text)), text);
}

TEST(SentencePiece, ABadVocabularyIsRefusedNamingTheEntry) {
  Vocabulary no_scores = small();
  no_scores.scores.pop_back();
  EXPECT_EQ(Tokenizer::make(no_scores).error().message, "the vocabulary has 266 tokens but 265 scores");
  Vocabulary nan_score = small();
  nan_score.scores[kFirstPiece] = std::nanf("");
  EXPECT_EQ(Tokenizer::make(nan_score).error().message, "the score of token 259 is not a number");
  Vocabulary bad_byte = small();
  bad_byte.tokens[kFirstByte] = "<0xZZ>";
  EXPECT_EQ(Tokenizer::make(bad_byte).error().message, "token 3 is a byte but not spelt <0xNN>");
  EXPECT_EQ(Tokenizer::make(bad_byte).error().code, Code::kBadModelFile);
}

}  // namespace
}  // namespace deepserve::runner
