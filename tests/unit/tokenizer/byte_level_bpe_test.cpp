#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <thread>

#include "runner/model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/made_vocabulary.h"

namespace deepserve::runner {
namespace {

using Specials = Tokenizer::Specials;
using Ids = std::vector<TokenId>;

std::unique_ptr<Tokenizer> made(Vocabulary vocabulary) {
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::make(std::move(vocabulary));
  EXPECT_TRUE(tokenizer) << (tokenizer ? "" : tokenizer.error().message);
  return *std::move(tokenizer);
}

Error refusal(Vocabulary vocabulary) {
  const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::make(std::move(vocabulary));
  EXPECT_FALSE(tokenizer);
  return tokenizer ? Error{} : tokenizer.error();
}

Ids plain(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, Specials::kPlainText);
}

TEST(ByteLevelBpe, TheLowestRankIsMergedFirstAndOfEqualOnesTheLeftmost) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  const TokenId bc = add_merge(vocabulary, "b", "c");
  const TokenId ab = add_merge(vocabulary, "a", "b");
  const TokenId aa = add_merge(vocabulary, "a", "a");
  const auto tokenizer = made(std::move(vocabulary));
  EXPECT_EQ(plain(*tokenizer, "abc"), (Ids{'a', bc}));
  EXPECT_EQ(plain(*tokenizer, "abb"), (Ids{ab, 'b'}));
  EXPECT_EQ(plain(*tokenizer, "aaa"), (Ids{aa, 'a'}));
}

TEST(ByteLevelBpe, PiecesAreNeverMergedAcrossTheirBorders) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  add_merge(vocabulary, "a", "!");
  const auto tokenizer = made(std::move(vocabulary));
  EXPECT_EQ(plain(*tokenizer, "a!"), (Ids{'a', '!'}));
}

TEST(ByteLevelBpe, ATokenThatItsMergesDoNotReachIsNotProduced) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  add_token(vocabulary, "abc", TokenKind::kNormal);
  EXPECT_EQ(plain(*made(vocabulary), "abc"), (Ids{'a', 'b', 'c'}));
  vocabulary.pre_tokenizer = "llama-bpe";
  EXPECT_EQ(plain(*made(vocabulary), "abc"), (Ids{256})) << "Llama 3 takes whole pieces first";
}

// The queue for long pieces and the scan for short ones are two programs for one rule.
TEST(ByteLevelBpe, LongPiecesAreMergedAsShortOnes) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  std::mt19937 random(7);
  std::vector<std::string> texts = {"a", "b", "c", "d"};
  while (texts.size() < 60) {
    const std::string left = texts[random() % texts.size()];
    const std::string right = texts[random() % texts.size()];
    if (left.size() + right.size() > 8 || std::find(texts.begin(), texts.end(), left + right) != texts.end())
      continue;
    add_merge(vocabulary, left, right);
    texts.push_back(left + right);
  }
  const auto tokenizer = made(vocabulary);
  for (int round = 0; round < 300; ++round) {
    std::string text(1 + random() % 200, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 4);
    std::vector<std::string> expected;
    for (char c : text) expected.emplace_back(1, c);
    for (const std::string& merge : vocabulary.merges) {  // by rank: the definition, slowly
      const size_t space = merge.find(' ');
      for (size_t i = 0; i + 1 < expected.size(); ++i) {
        if (expected[i] != merge.substr(0, space) || expected[i + 1] != merge.substr(space + 1)) continue;
        expected[i] += expected[i + 1];
        expected.erase(expected.begin() + static_cast<ptrdiff_t>(i) + 1);
      }
    }
    std::vector<std::string> got;
    for (TokenId token : plain(*tokenizer, text)) got.emplace_back(tokenizer->token_bytes(token));
    ASSERT_EQ(got, expected) << "round " << round;
  }
}

TEST(ByteLevelBpe, AMegabyteWithoutASpaceIsMergedWithoutASquare) {
  Vocabulary vocabulary = byte_vocabulary("qwen2");
  std::string text = "a";
  TokenId longest = 'a';
  for (; text.size() < 64; text += text) longest = add_merge(vocabulary, text, text);
  const auto tokenizer = made(std::move(vocabulary));
  const Ids ids = plain(*tokenizer, std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, Ids((1 << 20) / 64, longest));
}

TEST(ByteLevelBpe, EveryByteStringComesBack) {
  const auto tokenizer = made(byte_vocabulary("llama-bpe"));
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string text(random() % 64, '\0');
    for (char& c : text) c = static_cast<char>(random());
    std::string back;
    for (TokenId token : plain(*tokenizer, text)) back.append(tokenizer->token_bytes(token));
    ASSERT_EQ(back, text) << "round " << round;
  }
}

TEST(ByteLevelBpe, QwensTextIsBroughtToNfcAsHuggingFaceDoesAlsoFromGguf) {
  const auto tokenizer = made(byte_vocabulary("qwen2"));
  EXPECT_EQ(tokenizer->decode(plain(*tokenizer, "cafe\u0301")), "caf\u00e9");
  const auto other = made(byte_vocabulary("llama-bpe"));
  EXPECT_EQ(other->decode(plain(*other, "cafe\u0301")), "cafe\u0301");
}

TEST(ByteLevelBpe, DecodingReplacesWhatIsNoUtf8) {
  const auto tokenizer = made(byte_vocabulary("qwen2"));
  EXPECT_EQ(tokenizer->decode(Ids{'a', 0xff, 'b', 0xe4, 0xbd}),
            "a\uFFFD"
            "b\uFFFD");
  EXPECT_EQ(tokenizer->decode(Ids{0xe4, 0xbd, 0xa0}), "你");
  EXPECT_EQ(tokenizer->decode(Ids{99999, 'x'}), "x");
}

struct WithSpecials {
  WithSpecials() {
    vocabulary = byte_vocabulary("qwen2");
    end = add_token(vocabulary, "<|im_end|>", TokenKind::kControl);
    tool = add_token(vocabulary, "<tool>", TokenKind::kUserDefined);
    careless = add_token(vocabulary, "<|file_sep|>", TokenKind::kUserDefined);
    padding = add_token(vocabulary, "[PAD259]", TokenKind::kUserDefined);
    tokenizer = made(vocabulary);
  }
  Vocabulary vocabulary;
  TokenId end, tool, careless, padding;
  std::unique_ptr<Tokenizer> tokenizer;
};

TEST(ByteLevelBpe, ControlTokensAreFoundOnlyWhereTheTextIsToBeParsed) {
  const WithSpecials with;
  EXPECT_EQ(with.tokenizer->encode("a<|im_end|>b", Specials::kParse), (Ids{'a', with.end, 'b'}));
  const Ids typed = plain(*with.tokenizer, "a<|im_end|>b");
  EXPECT_EQ(std::count(typed.begin(), typed.end(), with.end), 0);
  EXPECT_EQ(with.tokenizer->decode(typed), "a<|im_end|>b");
}

TEST(ByteLevelBpe, UserDefinedTokensAreFoundEverywhere) {
  const WithSpecials with;
  EXPECT_EQ(plain(*with.tokenizer, "a<tool>b"), (Ids{'a', with.tool, 'b'}));
  EXPECT_EQ(with.tokenizer->decode(Ids{with.tool}), "<tool>");
}

TEST(ByteLevelBpe, WhatLooksLikeAControlTokenIsOneWhateverTheFileCallsIt) {
  const WithSpecials with;
  EXPECT_EQ(with.tokenizer->encode("<|file_sep|>", Specials::kParse), (Ids{with.careless}));
  EXPECT_EQ(plain(*with.tokenizer, "<|file_sep|>").size(), 12u);
  EXPECT_EQ(plain(*with.tokenizer, "[PAD259]").size(), 8u) << "padding of the vocabulary is no text";
}

TEST(ByteLevelBpe, ControlTokensStandForNothingUnlessShown) {
  const WithSpecials with;
  EXPECT_EQ(with.tokenizer->token_bytes(with.end), "");
  EXPECT_EQ(with.tokenizer->token_bytes(with.end, true), "<|im_end|>");
  EXPECT_EQ(with.tokenizer->token_bytes(with.padding), "");
  EXPECT_EQ(with.tokenizer->token_bytes(12345), "");
}

TEST(ByteLevelBpe, PartsAreReadAsOneTextButOnlyTheTemplatesOwnIsParsed) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  const TokenId end = add_token(vocabulary, "<|im_end|>", TokenKind::kControl);
  const TokenId ab = add_merge(vocabulary, "a", "b");
  const auto tokenizer = made(std::move(vocabulary));
  const Tokenizer::Part parts[] = {{"a", Specials::kParse},
                                   {"b", Specials::kPlainText},
                                   {"<|im_", Specials::kPlainText},
                                   {"end|>", Specials::kParse},
                                   {"<|im_end|>", Specials::kParse}};
  Ids expected = {ab};
  for (char c : std::string_view("<|im_end|>")) expected.push_back(static_cast<TokenId>(c));
  expected.push_back(end);
  EXPECT_EQ(tokenizer->encode_parts(parts), expected);
}

TEST(ByteLevelBpe, EndsOfGenerationAreTheFilesOwnAndTheWellKnownOnes) {
  Vocabulary vocabulary = byte_vocabulary("qwen2");
  const TokenId im_end = add_token(vocabulary, "<|im_end|>", TokenKind::kControl);
  const TokenId end_of_text = add_token(vocabulary, "<|endoftext|>", TokenKind::kControl);
  const TokenId deepseek = add_token(vocabulary, "<｜end▁of▁sentence｜>", TokenKind::kUserDefined);
  const TokenId start = add_token(vocabulary, "<|im_start|>", TokenKind::kControl);
  vocabulary.eos = 'x';
  const auto tokenizer = made(std::move(vocabulary));
  for (TokenId token : {TokenId{'x'}, im_end, end_of_text, deepseek})
    EXPECT_TRUE(tokenizer->ends_generation(token));
  for (TokenId token : {TokenId{'y'}, start, TokenId{1 << 20}})
    EXPECT_FALSE(tokenizer->ends_generation(token));
}

TEST(ByteLevelBpe, OfTwoTokensWithOneTextTheFirstIsEncoded) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  const TokenId first = add_merge(vocabulary, "a", "b");
  const TokenId second = add_token(vocabulary, "ab", TokenKind::kNormal);
  const auto tokenizer = made(std::move(vocabulary));
  EXPECT_EQ(plain(*tokenizer, "ab"), (Ids{first}));
  EXPECT_EQ(tokenizer->decode(Ids{second}), "ab");
}

TEST(ByteLevelBpe, ABadVocabularyIsRefusedNamingTheEntry) {
  Vocabulary merge_of_nothing = byte_vocabulary("gpt-2");
  add_merge(merge_of_nothing, "a", "b");
  merge_of_nothing.merges.push_back("ab zz");
  EXPECT_EQ(refusal(merge_of_nothing).code, Code::kBadModelFile);
  EXPECT_EQ(refusal(merge_of_nothing).message, "merge 1: its right side is no token");

  Vocabulary no_result = byte_vocabulary("gpt-2");
  no_result.merges.push_back("a b");
  EXPECT_EQ(refusal(no_result).message, "merge 0: its result is no token");

  Vocabulary one_piece = byte_vocabulary("gpt-2");
  one_piece.merges.push_back("ab");
  EXPECT_EQ(refusal(one_piece).message, "merge 0 is not two pieces with a space between them");

  Vocabulary makes_control = byte_vocabulary("gpt-2");
  add_token(makes_control, "<|", TokenKind::kControl);
  makes_control.merges.push_back("< |");
  EXPECT_EQ(refusal(makes_control).code, Code::kBadModelFile);

  Vocabulary hole = byte_vocabulary("gpt-2");
  hole.tokens[7].clear();
  EXPECT_EQ(refusal(hole).message, "token 7 has no text");

  Vocabulary short_kinds = byte_vocabulary("gpt-2");
  short_kinds.kinds.pop_back();
  EXPECT_EQ(refusal(short_kinds).message, "the vocabulary has 256 tokens but 255 token types");

  Vocabulary far_eos = byte_vocabulary("gpt-2");
  far_eos.eos = 256;
  EXPECT_EQ(refusal(far_eos).message, "the EOS token is 256, the vocabulary has 256 tokens");

  EXPECT_EQ(refusal(Vocabulary{}).message, "the vocabulary is empty");
  EXPECT_EQ(refusal(byte_vocabulary("nonsense")).code, Code::kNotSupported);
}

TEST(ByteLevelBpe, ManyThreadsMayEncodeAtOnce) {
  Vocabulary vocabulary = byte_vocabulary("gpt-2");
  const TokenId ab = add_merge(vocabulary, "a", "b");
  const auto tokenizer = made(std::move(vocabulary));
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (Ids& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) result = plain(*tokenizer, "ab");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, (Ids{ab}));
}

}  // namespace
}  // namespace deepserve::runner
