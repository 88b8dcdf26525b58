#include "runner/model/gguf/gguf_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/model/gguf_writer.h"

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

GgufWriter byte_level() {
  GgufWriter writer;
  writer.put_string("tokenizer.ggml.model", "gpt2");
  writer.put_string("tokenizer.ggml.pre", "qwen2");
  writer.put_strings("tokenizer.ggml.tokens", {"a", "b", "ab", "<|end|>"});
  writer.put_integers("tokenizer.ggml.token_type", {1, 1, 1, 3});
  writer.put_strings("tokenizer.ggml.merges", {"a b"});
  writer.put_u32("tokenizer.ggml.eos_token_id", 3);
  writer.put_string("tokenizer.chat_template", "{{ messages }}");
  return writer;
}

Result<Vocabulary> read(const GgufWriter& writer, uint64_t token_count = 4) {
  const auto bytes = writer.bytes();
  const auto file = Gguf::parse(bytes, "m.gguf");
  EXPECT_TRUE(file);
  return read_gguf_vocabulary(*file, token_count);
}

void expect_refused(const GgufWriter& writer, Code code, const char* key, const char* word) {
  const auto vocabulary = read(writer);
  ASSERT_FALSE(vocabulary);
  EXPECT_EQ(vocabulary.error().code, code);
  EXPECT_THAT(vocabulary.error().message, HasSubstr(key));
  EXPECT_THAT(vocabulary.error().message, HasSubstr(word));
}

TEST(GgufVocabulary, ByteLevelFilesGiveTokensKindsAndMerges) {
  const auto vocabulary = read(byte_level());
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->kind, TokenizerKind::kByteLevelBpe);
  EXPECT_EQ(vocabulary->pre_tokenizer, "qwen2");
  EXPECT_EQ(vocabulary->tokens[2], "ab");
  EXPECT_EQ(vocabulary->kinds[3], TokenKind::kControl);
  EXPECT_EQ(vocabulary->merges, std::vector<std::string>{"a b"});
  EXPECT_EQ(vocabulary->eos, 3u);
  EXPECT_EQ(vocabulary->bos, std::nullopt);
  EXPECT_FALSE(vocabulary->add_bos);
  EXPECT_EQ(vocabulary->chat_template, "{{ messages }}");
}

TEST(GgufVocabulary, ThePreTokenizersNameIsFitForALogLine) {
  GgufWriter writer;
  writer.put_string("tokenizer.ggml.model", "gpt2");
  writer.put_string("tokenizer.ggml.pre", "qwen2\n\x1b[31m\xff");
  writer.put_strings("tokenizer.ggml.tokens", {"a", "b", "ab", "c"});
  writer.put_strings("tokenizer.ggml.merges", {"a b"});
  const auto vocabulary = read(writer);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->pre_tokenizer, "qwen2??[31m?");
}

TEST(GgufVocabulary, SentencePieceFilesBeginWithBosUnlessTheySayNo) {
  GgufWriter writer;
  writer.put_string("tokenizer.ggml.model", "llama");
  writer.put_strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "x"});
  writer.put_floats("tokenizer.ggml.scores", {0, 0, 0, -1});
  writer.put_u32("tokenizer.ggml.bos_token_id", 1);
  writer.put_u32("tokenizer.ggml.eot_token_id", 0xffffffff);
  const auto vocabulary = read(writer);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_TRUE(vocabulary->add_bos);
  EXPECT_TRUE(vocabulary->add_space_prefix);
  EXPECT_EQ(vocabulary->eot, std::nullopt);
  writer.put_bool("tokenizer.ggml.add_bos_token", false);
  EXPECT_FALSE(read(writer)->add_bos);
}

TEST(GgufVocabulary, ArraysThatDoNotFitTogetherAreRefusedByKey) {
  EXPECT_THAT(read(byte_level(), 5).error().message, HasSubstr("4 tokens for an embedding of 5"));
  GgufWriter writer = byte_level();
  writer.put_u32("tokenizer.ggml.unknown_token_id", 4);
  expect_refused(writer, Code::kBadModelFile, "tokenizer.ggml.unknown_token_id", "token 4 of 4");

  GgufWriter kinds;
  kinds.put_string("tokenizer.ggml.model", "gpt2");
  kinds.put_strings("tokenizer.ggml.tokens", {"a", "b", "c", "d"});
  kinds.put_integers("tokenizer.ggml.token_type", {1, 1, 9, 1});
  expect_refused(kinds, Code::kBadModelFile, "tokenizer.ggml.token_type", "unknown kind 9");

  GgufWriter scores;
  scores.put_string("tokenizer.ggml.model", "llama");
  scores.put_strings("tokenizer.ggml.tokens", {"a", "b", "c", "d"});
  scores.put_floats("tokenizer.ggml.scores", {1});
  expect_refused(scores, Code::kBadModelFile, "tokenizer.ggml.scores", "1 scores for 4 tokens");
}

TEST(GgufVocabulary, AnUnknownTokenizerIsRefusedByName) {
  GgufWriter writer;
  writer.put_string("tokenizer.ggml.model", "rwkv");
  expect_refused(writer, Code::kNotSupported, "rwkv", "m.gguf");
}

}  // namespace
}  // namespace deepserve::runner
