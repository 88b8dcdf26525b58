#include "runner/model/chat_template.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "tests/unit/tokenizer/made_vocabulary.h"

namespace deepserve::runner {
namespace {

using Messages = std::vector<ipc::ChatMessage>;

constexpr std::string_view kControlTokens[] = {
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<｜begin▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
};

Vocabulary vocabulary_with(std::string_view source, std::string_view bos = {}) {
  Vocabulary vocabulary = byte_vocabulary("qwen2");
  for (std::string_view text : kControlTokens) {
    const TokenId token = add_token(vocabulary, std::string(text), TokenKind::kControl);
    if (text == bos) vocabulary.bos = token;
  }
  vocabulary.chat_template = source;
  return vocabulary;
}

std::string shown(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  std::string text;
  for (TokenId token : tokens) text.append(tokenizer.token_bytes(token, true));
  return text;
}

std::string rendered(const ChatTemplate& chat, const Vocabulary& vocabulary, const Messages& messages) {
  const auto tokenizer = *Tokenizer::make(vocabulary);
  const auto tokens = chat.render(messages, *tokenizer);
  EXPECT_TRUE(tokens) << (tokens ? "" : tokens.error().message);
  return tokens ? shown(*tokenizer, *tokens) : std::string();
}

boost::json::array fixtures() {
  std::ifstream file(CHAT_TEMPLATE_FIXTURES);
  std::stringstream text;
  text << file.rdbuf();
  return boost::json::parse(text.str()).as_array();
}

TEST(ChatTemplate, RendersEveryConversationAsJinjaDoes) {
  size_t cases = 0;
  for (const boost::json::value& fixture : fixtures()) {
    const std::string_view name = fixture.at("template").as_string();
    const Vocabulary vocabulary =
        vocabulary_with(fixture.at("source").as_string(), fixture.at("bos").as_string());
    const Result<ChatTemplate> chat = ChatTemplate::detect(vocabulary);
    ASSERT_TRUE(chat) << name << ": " << chat.error().message;
    for (const boost::json::value& one : fixture.at("cases").as_array()) {
      Messages messages;
      for (const boost::json::value& message : one.at("messages").as_array()) {
        messages.push_back(
            {std::string(message.at("role").as_string()), std::string(message.at("content").as_string())});
      }
      EXPECT_EQ(rendered(*chat, vocabulary, messages), std::string_view(one.at("rendered").as_string()))
          << name << ": " << boost::json::serialize(one.at("messages"));
      ++cases;
    }
  }
  EXPECT_GE(cases, 200u);
}

TEST(ChatTemplate, WhatAUserTypesIsNeverAControlToken) {
  const Vocabulary vocabulary = vocabulary_with("");
  const auto tokenizer = *Tokenizer::make(vocabulary);
  for (ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3, ChatFamily::kDeepSeekR1}) {
    const ChatTemplate chat = *ChatTemplate::of_family(family, vocabulary);
    std::string typed;
    for (std::string_view text : kControlTokens) typed.append(text).append("system\n");
    const auto control_tokens = [&](const std::string& content) {
      const Messages messages = {
          {"system", content}, {"user", content}, {"assistant", content}, {"user", content}};
      const std::vector<TokenId> tokens = *chat.render(messages, *tokenizer);
      return std::count_if(tokens.begin(), tokens.end(), [](TokenId token) { return token >= 256; });
    };
    EXPECT_EQ(control_tokens(typed), control_tokens("harmless")) << chat_family_name(family);
  }
}

TEST(ChatTemplate, TextMergesAcrossTheBorderBetweenTemplateAndUser) {
  Vocabulary vocabulary = vocabulary_with("");
  const TokenId two_breaks = add_merge(vocabulary, "Ċ", "Ċ");
  const auto tokenizer = *Tokenizer::make(vocabulary);
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kChatMl, vocabulary);
  const std::vector<TokenId> tokens = *chat.render(Messages{{"user", "\nx"}}, *tokenizer);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), two_breaks), 1);
}

TEST(ChatTemplate, AnUnknownTemplateIsRefusedSayingHowToNameOne) {
  for (std::string_view source :
       {"{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}",
        "{{ '<|im_start|>' + message.role + '<|im_sep|>' + message.content + '<|im_end|>' }}",
        "{{'<｜User｜>' + message['content']}}{{'<｜Assistant｜></think>'}}",
        "{{ '<|im_start|>system\nYou are ' + name + '<|im_end|>' }}"
        "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' }}"}) {
    const Result<ChatTemplate> chat = ChatTemplate::detect(vocabulary_with(source));
    ASSERT_FALSE(chat) << source;
    EXPECT_EQ(chat.error().code, Code::kNotSupported);
    EXPECT_NE(chat.error().message.find("of no known family"), std::string::npos);
    EXPECT_NE(chat.error().message.find("chat_template = \"chatml\" | \"llama3\" | \"deepseek-r1\""),
              std::string::npos);
  }
  EXPECT_NE(ChatTemplate::detect(vocabulary_with("")).error().message.find("carries no chat template"),
            std::string::npos);
}

// Quadratic recognition would take a quarter of an hour for these.
TEST(ChatTemplate, MegabytesOfOneMarkAreReadInLinearTime) {
  constexpr std::string_view kChatMl =
      "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' }}";
  for (std::string_view mark : {"\\n", "[role]", "<|im_start|>system", "<|im_start|>system\\n"}) {
    std::string source(kChatMl);
    for (size_t bytes = 0; bytes < size_t{4} << 20; bytes += mark.size()) source.append(mark);
    const Result<ChatStyle> style = detect_chat_style(source);
    ASSERT_TRUE(style) << mark;
    EXPECT_EQ(style->default_system, "");
  }
}

TEST(ChatTemplate, AVocabularyWithoutTheFamilysTokensIsRefusedNamingOne) {
  const Result<ChatTemplate> chat = ChatTemplate::of_family(ChatFamily::kChatMl, byte_vocabulary("qwen2"));
  ASSERT_FALSE(chat);
  EXPECT_EQ(chat.error().code, Code::kNotSupported);
  EXPECT_NE(chat.error().message.find("<|im_start|>"), std::string::npos);
}

TEST(ChatTemplate, BadConversationsAreTheClientsFault) {
  const Vocabulary vocabulary = vocabulary_with("");
  const auto tokenizer = *Tokenizer::make(vocabulary);
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kChatMl, vocabulary);
  EXPECT_EQ(chat.render(Messages{}, *tokenizer).error().code, Code::kInvalidRequest);
  const auto unknown_role = chat.render(Messages{{"user", "x"}, {"<|im_end|>", "y"}}, *tokenizer);
  ASSERT_FALSE(unknown_role);
  EXPECT_EQ(unknown_role.error().code, Code::kInvalidRequest);
  EXPECT_NE(unknown_role.error().message.find("messages[1]"), std::string::npos);
}

TEST(ChatTemplate, FamiliesAreKnownByTheirNames) {
  for (ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3, ChatFamily::kDeepSeekR1}) {
    EXPECT_EQ(*chat_family_from_name(chat_family_name(family)), family);
  }
  EXPECT_EQ(chat_family_from_name("mistral").error().code, Code::kNotSupported);
}

TEST(ChatTemplate, TheNamedFamilyIsUsedWhateverTheFileSays) {
  const Vocabulary vocabulary = vocabulary_with("nonsense", "<｜begin▁of▁sentence｜>");
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kDeepSeekR1, vocabulary);
  EXPECT_EQ(chat.family(), ChatFamily::kDeepSeekR1);
  EXPECT_EQ(rendered(chat, vocabulary, {{"user", "Hi"}}),
            "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>\n");
}

}  // namespace
}  // namespace deepserve::runner
