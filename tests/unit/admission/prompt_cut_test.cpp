#include "daemon/admission/prompt_cut.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

using Messages = std::vector<std::pair<std::string, std::string>>;

ipc::Prompt chat(const Messages& messages) {
  ipc::Prompt prompt;
  prompt.kind = ipc::PromptKind::kChat;
  for (const auto& [role, content] : messages) prompt.chat.push_back({.role = role, .content = content});
  return prompt;
}

std::string roles(const ipc::Prompt& prompt) {
  std::string text;
  for (const auto& message : prompt.chat) text += message.role[0];
  return text;
}

const Messages kTalk = {{"system", "be kind"},    {"user", "0123456789"}, {"assistant", "0123456789"},
                        {"user", "0123456789"},   {"assistant", "01234"}, {"user", "0123456789"},
                        {"assistant", "0123456"}, {"user", "last"}};

TEST(PromptCut, OfAChatTheSystemPromptAndTheNewestMessagesStay) {
  auto prompt = chat(kTalk);
  const uint64_t before = prompt_bytes(prompt);
  EXPECT_EQ(cut_prompt(prompt, 7 + 4 + 7 + 10), before - 28);
  EXPECT_EQ(roles(prompt), "suau");
  EXPECT_EQ(prompt.chat.front().content, "be kind");
  EXPECT_EQ(prompt.chat.back().content, "last");
}

TEST(PromptCut, WhatIsKeptBeginsWithAUsersMessage) {
  auto prompt = chat(kTalk);
  EXPECT_GT(cut_prompt(prompt, 7 + 4 + 7 + 10 + 5), 0u) << "there is room for an answer without its question";
  EXPECT_EQ(roles(prompt), "suau");
  auto tools =
      chat({{"user", std::string(100, 'a')}, {"user", "use it"}, {"assistant", "calls"}, {"tool", "21"}});
  EXPECT_EQ(cut_prompt(tools, 20), 100u);
  EXPECT_EQ(roles(tools), "uat");
}

TEST(PromptCut, WhatFitsAndWhatCannotBeCutIsLeftAsItWas) {
  auto prompt = chat(kTalk);
  EXPECT_EQ(cut_prompt(prompt, prompt_bytes(prompt)), 0u);
  EXPECT_EQ(cut_prompt(prompt, 10), 0u) << "the last question with the system prompt is more";
  EXPECT_EQ(roles(prompt), "suauauau");
  auto one = chat({{"user", std::string(1'000, 'a')}});
  EXPECT_EQ(cut_prompt(one, 100), 0u) << "messages are kept whole";
  auto none = chat({{"system", "a long one"}});
  EXPECT_EQ(cut_prompt(none, 2), 0u);
}

TEST(PromptCut, ToolsCountAndStay) {
  auto prompt = chat({{"user", std::string(50, 'a')}, {"assistant", "b"}, {"user", "c"}});
  prompt.tools = std::string(100, 't');
  EXPECT_EQ(cut_prompt(prompt, 90), 0u);
  EXPECT_EQ(cut_prompt(prompt, 110), 51u);
  EXPECT_EQ(prompt.tools.size(), 100u);
}

TEST(PromptCut, OfATextTheEndStaysAndNoCharacterIsTorn) {
  ipc::Prompt prompt;
  prompt.text = "abc\xc3\xa9\xc3\xa9xyz";
  EXPECT_EQ(cut_prompt(prompt, 6), 5u);
  EXPECT_EQ(prompt.text, "\xc3\xa9xyz");
  EXPECT_EQ(cut_prompt(prompt, 0), 0u);
  prompt.text = "\xa9\xa9\xa9\xa9";
  EXPECT_EQ(cut_prompt(prompt, 2), 0u);
}

TEST(PromptCut, OfTokensTheEndStays) {
  ipc::Prompt prompt;
  prompt.kind = ipc::PromptKind::kTokens;
  prompt.tokens = {1, 2, 3, 4, 5};
  EXPECT_EQ(cut_prompt(prompt, 11), 12u);
  EXPECT_EQ(prompt.tokens, (std::vector<ipc::TokenId>{4, 5}));
  EXPECT_EQ(cut_prompt(prompt, 3), 0u);
}

}  // namespace
}  // namespace deepserve::daemon
