#include "daemon/admission/prompt_cut.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

uint64_t bytes_of(const ipc::ChatMessage& message) {
  return message.content.size() + message.reasoning.size() + message.tool_calls.size();
}

// The first message that is kept after the leading ones; their number where none can go.
void cut_chat(ipc::Prompt& prompt, uint64_t bytes_max) {
  auto& chat = prompt.chat;
  const auto lead_end = std::find_if(
      chat.begin(), chat.end(), [](const ipc::ChatMessage& message) { return message.role != "system"; });
  uint64_t bytes = prompt.text.size() + prompt.tools.size();
  for (auto message = chat.begin(); message != lead_end; ++message) bytes += bytes_of(*message);
  auto tail = chat.end();
  for (auto message = chat.end(); message != lead_end;) {
    bytes += bytes_of(*--message);
    if (bytes > bytes_max) break;
    if (message->role == "user") tail = message;
  }
  if (tail != chat.end()) chat.erase(lead_end, tail);
}

void cut_text(std::string& text, uint64_t bytes_max) {
  if (text.size() <= bytes_max || bytes_max == 0) return;
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  size_t from = text.size() - bytes_max;
  while (from < text.size() && continues(text[from])) ++from;
  if (from < text.size()) text.erase(0, from);
}

void cut_tokens(std::vector<ipc::TokenId>& tokens, uint64_t bytes_max) {
  const uint64_t kept = bytes_max / sizeof(ipc::TokenId);
  if (tokens.size() <= kept || kept == 0) return;
  tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(kept));
}

}  // namespace

uint64_t prompt_bytes(const ipc::Prompt& prompt) {
  uint64_t bytes = prompt.text.size() + prompt.tokens.size() * sizeof(ipc::TokenId) + prompt.tools.size();
  for (const auto& message : prompt.chat) bytes += bytes_of(message);
  return bytes;
}

uint64_t cut_prompt(ipc::Prompt& prompt, uint64_t bytes_max) {
  const uint64_t before = prompt_bytes(prompt);
  if (before <= bytes_max) return 0;
  if (prompt.kind == ipc::PromptKind::kChat) {
    cut_chat(prompt, bytes_max);
  } else if (prompt.kind == ipc::PromptKind::kTokens) {
    cut_tokens(prompt.tokens, bytes_max);
  } else {
    cut_text(prompt.text, bytes_max);
  }
  return before - prompt_bytes(prompt);
}

}  // namespace deepserve::daemon
