#include "runner/engine/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::HasSubstr;

constexpr RequestLimits kLimits{
    .context_tokens = 32, .vocabulary = kVocabulary, .kv_blocks = 100, .kv_block_tokens = 4};

ipc::Submit text_request(std::string text) {
  ipc::Submit submit;
  submit.request = 1;
  submit.prompt.text = std::move(text);
  return submit;
}

Error refusal(const ipc::Submit& submit) {
  const FakeTokenizer tokenizer;
  const auto prepared = prepare(submit, kLimits, tokenizer, kNoChat);
  return prepared ? Error{Code::kCount, "it was taken"} : prepared.error();
}

TEST(Prompt, TextGetsBosOnceAndTokenPromptsAreTakenAsTheyAre) {
  FakeTokenizer tokenizer;
  EXPECT_EQ(prepare(text_request("ab"), kLimits, tokenizer, kNoChat)->tokens,
            (std::vector<TokenId>{kBos, 2, 3}));
  EXPECT_EQ(prepare(token_request(1, {2, 3}, 1), kLimits, tokenizer, kNoChat)->tokens,
            (std::vector<TokenId>{2, 3}));
  EXPECT_EQ(tokenize(text_request("ab").prompt, false, tokenizer, kNoChat).value(),
            (std::vector<TokenId>{2, 3}));
  tokenizer.vocabulary_.add_bos = false;
  EXPECT_EQ(prepare(text_request("ab"), kLimits, tokenizer, kNoChat)->tokens, (std::vector<TokenId>{2, 3}));
}

TEST(Prompt, AnEmptyOneBecomesBosOrIsRefused) {
  FakeTokenizer tokenizer;
  tokenizer.vocabulary_.add_bos = false;
  const auto prepared = prepare(text_request(""), kLimits, tokenizer, kNoChat);
  EXPECT_EQ(prepared->tokens, (std::vector<TokenId>{kBos}));
  EXPECT_TRUE(prepared->text_starts);
  tokenizer.vocabulary_.bos.reset();
  EXPECT_EQ(prepare(text_request(""), kLimits, tokenizer, kNoChat).error().code, Code::kInvalidRequest);
}

TEST(Prompt, LongerThanTheContextIsRefusedWithBothNumbers) {
  const auto error = refusal(token_request(1, std::vector<TokenId>(33, 5), 1));
  EXPECT_EQ(error.code, Code::kContextLength);
  EXPECT_THAT(error.message, AllOf(HasSubstr("33"), HasSubstr("32")));
  EXPECT_EQ(refusal(token_request(1, std::vector<TokenId>(32, 5), 1)).code, Code::kContextLength);
}

TEST(Prompt, TextThatCannotFitIsRefusedWithBothNumbersBeforeItIsTokenized) {
  Bench bench(hashing_model(), {.context_tokens = 20}, {});  // the longest token has 5 bytes: "<bos>"
  size_t encoded_bytes = 0;
  bench.tokenizer.on_encode = [&](std::string_view text) { encoded_bytes += text.size(); };
  const auto& told = bench.submit_and_run(text_request(std::string(101, 'a')));
  EXPECT_EQ(told.failure.code, Code::kContextLength);
  EXPECT_THAT(told.failure.message, AllOf(HasSubstr("101 bytes"), HasSubstr("20 tokens")));
  EXPECT_EQ(encoded_bytes, 0u);
  auto possible = text_request(std::string(100, 'a'));
  possible.request = 2;
  EXPECT_THAT(bench.submit_and_run(possible).failure.message, HasSubstr("101 tokens"));
  EXPECT_EQ(encoded_bytes, 100u);
}

TEST(Prompt, AChatThatCannotFitIsRefusedBeforeItIsTokenized) {
  FakeTokenizer tokenizer;
  tokenizer.on_encode = [](std::string_view) { FAIL(); };
  Vocabulary vocabulary;
  vocabulary.tokens = {"<|im_start|>", "<|im_end|>"};
  const auto chat = ChatTemplate::of_family(ChatFamily::kChatMl, vocabulary);
  auto request = text_request("");
  request.prompt.kind = ipc::PromptKind::kChat;
  request.prompt.chat = {
      {"user", std::string(100, 'a')}, {"assistant", "b"}, {"user", std::string(100, 'c')}};
  RequestLimits limits = kLimits;
  limits.token_bytes_max = 5;
  const auto prepared = prepare(request, limits, tokenizer, chat);
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kContextLength);
}

TEST(Prompt, TokensMaxIsClampedToTheRestOfTheContext) {
  const FakeTokenizer tokenizer;
  const std::vector<TokenId> prompt(30, 5);
  EXPECT_EQ(prepare(token_request(1, prompt, 1000), kLimits, tokenizer, kNoChat)->tokens_limit, 2u);
  EXPECT_EQ(prepare(token_request(1, prompt, ipc::kRestOfContext), kLimits, tokenizer, kNoChat)->tokens_limit,
            2u);
  EXPECT_EQ(prepare(token_request(1, prompt, 1), kLimits, tokenizer, kNoChat)->tokens_limit, 1u);
}

TEST(Prompt, TokensBeyondTheVocabularyAreNamed) {
  auto request = token_request(1, {2, kVocabulary}, 1);
  EXPECT_THAT(refusal(request).message, HasSubstr("token 40"));
  request = token_request(1, {2}, 1);
  request.generation.stop_tokens = {99};
  EXPECT_THAT(refusal(request).message, AllOf(HasSubstr("stop_token_ids"), HasSubstr("99")));
  request.generation.stop_tokens.clear();
  request.generation.logit_bias = {{77, 1.0f}};
  EXPECT_THAT(refusal(request).message, AllOf(HasSubstr("logit_bias"), HasSubstr("77")));
  request.generation.logit_bias.clear();
  request.resumed = {{0, {88}}};
  EXPECT_THAT(refusal(request).message, AllOf(HasSubstr("resumed"), HasSubstr("88")));
}

TEST(Prompt, WhatCouldHurtTheSamplerIsRefusedByName) {
  const auto refused = [](auto change) {
    auto request = token_request(1, {2}, 1);
    change(request.generation);
    const auto error = refusal(request);
    EXPECT_TRUE(error.code == Code::kInvalidRequest || error.code == Code::kNotSupported) << error.message;
    return error.message;
  };
  EXPECT_THAT(refused([](auto& g) { g.temperature = -1; }), HasSubstr("temperature"));
  EXPECT_THAT(refused([](auto& g) { g.temperature = NAN; }), HasSubstr("temperature"));
  EXPECT_THAT(refused([](auto& g) { g.top_p = 0; }), HasSubstr("top_p"));
  EXPECT_THAT(refused([](auto& g) { g.min_p = 2; }), HasSubstr("min_p"));
  EXPECT_THAT(refused([](auto& g) { g.repetition_penalty = 0; }), HasSubstr("repetition_penalty"));
  EXPECT_THAT(refused([](auto& g) { g.choices = 0; }), HasSubstr("n is 0"));
  EXPECT_THAT(refused([](auto& g) { g.stop = {""}; }), HasSubstr("stop string"));
  EXPECT_THAT(refused([](auto& g) { g.logit_bias = {{2, NAN}}; }), HasSubstr("logit_bias"));
  EXPECT_THAT(refused([](auto& g) { g.logprobs = 21; }), HasSubstr("logprobs is 21"));
  EXPECT_THAT(refused([](auto& g) { g.stop.assign(17, "x"); }), HasSubstr("17 stop strings"));
  EXPECT_THAT(refused([](auto& g) { g.choices = 129; }), HasSubstr("n is 129"));
}

TEST(Prompt, ChatWithoutATemplateIsRefusedWithTheReasonThatThereIsNone) {
  auto request = text_request("");
  request.prompt.kind = ipc::PromptKind::kChat;
  request.prompt.chat = {{"user", "hi"}};
  EXPECT_EQ(refusal(request).code, Code::kNotSupported);
  EXPECT_EQ(refusal(request).message, kNoChat.error().message);
}

}  // namespace
}  // namespace deepserve::runner::testing
