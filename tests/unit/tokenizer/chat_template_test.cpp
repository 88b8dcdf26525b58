#include "runner/model/chat/chat_template.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "tests/unit/tokenizer/made_vocabulary.h"

namespace deepserve::runner {
namespace {

using Messages = std::vector<ipc::ChatMessage>;

constexpr std::string_view kControlTokens[] = {
    "<s>",
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
  Vocabulary vocabulary = byte_vocabulary("llama-bpe");  // Qwen's brings text to NFC
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

ipc::Prompt prompt_of(const Messages& messages) {
  ipc::Prompt prompt;
  prompt.kind = ipc::PromptKind::kChat;
  prompt.chat = messages;
  return prompt;
}

std::string rendered(const ChatTemplate& chat, const Vocabulary& vocabulary, const ipc::Prompt& prompt) {
  const auto tokenizer = *Tokenizer::make(vocabulary);
  const auto tokens = chat.render(prompt, *tokenizer);
  EXPECT_TRUE(tokens) << (tokens ? "" : tokens.error().message);
  return tokens ? shown(*tokenizer, *tokens) : std::string();
}

boost::json::array fixtures(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return boost::json::parse(text.str()).as_array();
}

std::string text_at(const boost::json::object& object, std::string_view key) {
  const boost::json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? std::string() : std::string(value->as_string());
}

ipc::Prompt fixed_prompt(const boost::json::object& fixture) {
  ipc::Prompt prompt = prompt_of(Messages());
  for (const boost::json::value& value : fixture.at("messages").as_array()) {
    const boost::json::object& message = value.as_object();
    prompt.chat.push_back({text_at(message, "role"), text_at(message, "content"), text_at(message, "name"),
                           text_at(message, "reasoning"), text_at(message, "tool_calls"),
                           text_at(message, "tool_call_id")});
  }
  prompt.tools = text_at(fixture, "tools");
  prompt.template_options = text_at(fixture, "options");
  return prompt;
}

struct Compared {
  size_t equal = 0;
  size_t refused_by_both = 0;
  size_t without_place = 0;  // we refuse tools that the template leaves out without a word
};

// The text, and the tokens that its bytes become. An expected null says that transformers raised.
void compare(const boost::json::object& fixture, const ChatTemplate& chat, const Vocabulary& vocabulary,
             Compared& compared) {
  const auto tokenizer = *Tokenizer::make(vocabulary);
  for (const boost::json::value& one : fixture.at("cases").as_array()) {
    const ipc::Prompt prompt = fixed_prompt(one.as_object());
    const auto text = chat.text(prompt);
    const std::string about = text_at(fixture, "template") + ": " +
                              boost::json::serialize(one.at("messages")) + prompt.tools +
                              prompt.template_options;
    if (!text && text.error().message.find("has no place for") != std::string::npos) {
      ++compared.without_place;
    } else if (one.at("rendered").is_null()) {
      EXPECT_FALSE(text) << about;
      ++compared.refused_by_both;
    } else {
      const std::string_view expected = one.at("rendered").as_string();
      ASSERT_TRUE(text) << about << ": " << text.error().message;
      EXPECT_EQ(text->bytes(), expected) << about;
      EXPECT_EQ(shown(*tokenizer, *chat.render(prompt, *tokenizer)), expected) << about;
      ++compared.equal;
    }
  }
}

Vocabulary vocabulary_of(const boost::json::object& fixture) {
  Vocabulary vocabulary = vocabulary_with(text_at(fixture, "source"), text_at(fixture, "bos"));
  const std::string eos = text_at(fixture, "eos");
  if (!eos.empty()) vocabulary.eos = add_token(vocabulary, eos, TokenKind::kControl);
  return vocabulary;
}

TEST(ChatTemplate, RendersEveryConversationAsTransformersDoes) {
  Compared compared;
  for (const boost::json::value& value : fixtures(CHAT_TEMPLATE_FIXTURES)) {
    const boost::json::object& fixture = value.as_object();
    const Vocabulary vocabulary = vocabulary_of(fixture);
    const Result<ChatTemplate> chat = ChatTemplate::detect(vocabulary);
    ASSERT_TRUE(chat) << text_at(fixture, "template") << ": " << chat.error().message;
    compare(fixture, *chat, vocabulary, compared);
  }
  EXPECT_GE(compared.equal, 400u);
  EXPECT_GE(compared.refused_by_both, 5u);
}

// With the templates that models are published with, which are not ours to keep here.
TEST(ChatTemplate, RendersPublishedTemplatesAsTransformersDoes) {
  const char* path = std::getenv("CHAT_TEMPLATE_FIXTURES");
  if (path == nullptr)
    GTEST_SKIP() << "CHAT_TEMPLATE_FIXTURES names no file (tests/oracle/chat_templates.py)";
  for (const boost::json::value& value : fixtures(path)) {
    const boost::json::object& fixture = value.as_object();
    const std::string name = text_at(fixture, "template");
    const Vocabulary vocabulary = vocabulary_of(fixture);
    const Result<ChatTemplate> chat = ChatTemplate::detect(vocabulary);
    if (!chat) {
      std::printf("%s: refused: %s\n", name.c_str(), chat.error().message.substr(0, 140).c_str());
      continue;
    }
    Compared compared;
    compare(fixture, *chat, vocabulary, compared);
    std::printf("%s (%s): %zu equal, %zu refused by both, %zu without a place for tools\n", name.c_str(),
                std::string(chat_family_name(chat->family())).c_str(), compared.equal,
                compared.refused_by_both, compared.without_place);
  }
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
      const std::vector<TokenId> tokens = *chat.render(prompt_of(messages), *tokenizer);
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
  const std::vector<TokenId> tokens = *chat.render(prompt_of({{"user", "\nx"}}), *tokenizer);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), two_breaks), 1);
}

TEST(ChatTemplate, AnUnknownTemplateIsRefusedSayingHowToNameOne) {
  for (const auto& [source, why] : std::vector<std::pair<std::string, std::string>>{
           {"{% for m in messages %}\n{{ m | markdown }}{% endfor %}", "line 2: the filter \"markdown\""},
           {"{% include 'other' %}", "line 1: the statement \"include\""},
           {"{% for m in messages %}", "\"endfor\" is missing"},
           {"{{ messages is lovely }}", "the test \"lovely\""},
           {"{{ 'open", "a string does not end"}}) {
    const Result<ChatTemplate> chat = ChatTemplate::detect(vocabulary_with(source));
    ASSERT_FALSE(chat) << source;
    EXPECT_EQ(chat.error().code, Code::kNotSupported);
    EXPECT_NE(chat.error().message.find(why), std::string::npos) << chat.error().message;
    EXPECT_NE(chat.error().message.find("chat_template = \"chatml\" | \"llama3\" | \"deepseek-r1\""),
              std::string::npos);
  }
  EXPECT_NE(ChatTemplate::detect(vocabulary_with("")).error().message.find("carries no chat template"),
            std::string::npos);
}

TEST(ChatTemplate, ToolsWithoutAPlaceInTheTemplateAreRefusedByName) {
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kChatMl, vocabulary_with(""));
  ipc::Prompt prompt = prompt_of({{"user", "x"}});
  prompt.tools = R"([{"type":"function","function":{"name":"f"}}])";
  EXPECT_EQ(chat.text(prompt).error().code, Code::kNotSupported);
  EXPECT_NE(chat.text(prompt).error().message.find("no place for tools"), std::string::npos);
  prompt.tools.clear();
  prompt.chat.push_back({.role = "assistant", .content = "", .tool_calls = "[]"});
  EXPECT_NE(chat.text(prompt).error().message.find("messages[1].tool_calls"), std::string::npos);
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
  EXPECT_EQ(chat.render(prompt_of(Messages()), *tokenizer).error().code, Code::kInvalidRequest);
  const auto unknown_role = chat.render(prompt_of({{"user", "x"}, {"<|im_end|>", "y"}}), *tokenizer);
  ASSERT_FALSE(unknown_role);
  EXPECT_EQ(unknown_role.error().code, Code::kInvalidRequest);
  EXPECT_NE(unknown_role.error().message.find("messages[1]"), std::string::npos);
}

TEST(ChatTemplate, TooManyOptionsAreRefused) {
  const Vocabulary vocabulary = vocabulary_with("");
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kChatMl, vocabulary);
  ipc::Prompt prompt = prompt_of({{"user", "Hi"}});
  for (const auto& [count, is_taken] : {std::pair(64, true), std::pair(65, false)}) {
    prompt.template_options = "{";
    for (int i = 0; i < count; ++i)
      prompt.template_options += fmt::format("{}\"v{}\":1", i == 0 ? "" : ",", i);
    prompt.template_options += "}";
    const auto text = chat.text(prompt);
    EXPECT_EQ(text.has_value(), is_taken);
    if (!is_taken) {
      EXPECT_EQ(text.error().message, "chat_template_kwargs has more than 64 fields");
    }
  }
}

TEST(ChatTemplate, WhatUsersSaidBeyondTheLimitIsRefusedBeforeItIsRendered) {
  const Vocabulary vocabulary =
      vocabulary_with("{% if '[INST]' %}{% endif %}{{ raise_exception('rendered') }}");
  const auto tokenizer = *Tokenizer::make(vocabulary);
  const ChatTemplate chat = *ChatTemplate::detect(vocabulary);
  const TextLimit limit{.tokens = 10, .token_bytes_max = 1};
  const auto code = [&](const Messages& messages) {
    return chat.render(prompt_of(messages), *tokenizer, limit).error().code;
  };
  EXPECT_EQ(code({{"user", std::string(11, 'x')}}), Code::kContextLength);
  EXPECT_EQ(code({{"user", std::string(10, 'x')}}), Code::kInvalidRequest);
  EXPECT_EQ(code({{"assistant", std::string(11, 'x')}}), Code::kInvalidRequest);  // a thought may be left out
}

TEST(ChatTemplate, FamiliesAreKnownByTheirNames) {
  for (ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3, ChatFamily::kDeepSeekR1}) {
    EXPECT_EQ(*chat_family_from_name(chat_family_name(family)), family);
  }
  EXPECT_EQ(chat_family_from_name("mistral").error().code, Code::kNotSupported);
  EXPECT_EQ(family_of_template("{{ '[INST] <<SYS>>' }}"), ChatFamily::kLlama2);
  EXPECT_EQ(family_of_template("{{ messages }}"), ChatFamily::kCustom);
}

TEST(ChatTemplate, TheNamedFamilyIsUsedWhateverTheFileSays) {
  const Vocabulary vocabulary = vocabulary_with("nonsense", "<｜begin▁of▁sentence｜>");
  const ChatTemplate chat = *ChatTemplate::of_family(ChatFamily::kDeepSeekR1, vocabulary);
  EXPECT_EQ(chat.family(), ChatFamily::kDeepSeekR1);
  EXPECT_EQ(rendered(chat, vocabulary, prompt_of({{"user", "Hi"}})),
            "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>\n");
}

}  // namespace
}  // namespace deepserve::runner
