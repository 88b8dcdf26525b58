#include "daemon/api/answer_text.h"

#include <algorithm>
#include <charconv>

#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kLittle_bytes = 16 * 1024;

void append_bytes(std::string& out, std::string_view text) {
  out += '[';
  for (size_t i = 0; i < text.size(); ++i) {
    if (i != 0) out += ',';
    append_number(out, static_cast<uint64_t>(static_cast<unsigned char>(text[i])));
  }
  out += ']';
}

// JSON has no minus infinity; OpenAI's stand-in for "impossible" is -9999. The shortest text that reads back
// as the same float.
void append_logprob(std::string& out, float logprob) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, std::max(-9999.0f, logprob)).ptr;
  out.append(text, static_cast<size_t>(end - text));
}

void append_chat_token(std::string& out, const ipc::TokenLogprob& token) {
  out += "{\"token\":";
  append_json_string(out, token.text);
  out += ",\"logprob\":";
  append_logprob(out, token.logprob);
  out += ",\"bytes\":";
  append_bytes(out, token.text);
}

// A token as the legacy format writes it: one whose bytes are no text by themselves as "bytes:\\xe2\\x82".
void append_token_name(std::string& out, std::string_view text) {
  if (find_invalid_utf8(text) == std::string_view::npos) return append_json_string(out, text);
  constexpr char kHex[] = "0123456789abcdef";
  out += "\"bytes:";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  out += '"';
}

// The most likely ones, the chosen among them if it is one; at most `count`.
std::vector<ipc::TokenLogprob> best_of(const std::vector<ipc::TokenLogprob>& alternatives, size_t count) {
  std::vector<ipc::TokenLogprob> best(alternatives.begin() + 1, alternatives.end());
  const bool has_chosen = std::any_of(best.begin(), best.end(), [&](const ipc::TokenLogprob& entry) {
    return entry.token == alternatives[0].token;
  });
  if (!has_chosen) best.push_back(alternatives[0]);
  std::stable_sort(best.begin(), best.end(), [](const ipc::TokenLogprob& a, const ipc::TokenLogprob& b) {
    return a.logprob > b.logprob;
  });
  if (best.size() > count) best.resize(count);
  return best;
}

// `truncated_bytes` of the prompt are told where there are any.
void append_usage(std::string& out, const ipc::Usage& usage, uint64_t truncated_bytes) {
  out += "\"usage\":{\"prompt_tokens\":";
  append_number(out, uint64_t{usage.prompt_tokens});
  out += ",\"completion_tokens\":";
  append_number(out, uint64_t{usage.completion_tokens});
  out += ",\"total_tokens\":";
  append_number(out, uint64_t{usage.prompt_tokens} + usage.completion_tokens);
  out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
  append_number(out, uint64_t{usage.cached_tokens});
  if (truncated_bytes != 0) {
    out += ",\"truncated_bytes\":";
    append_number(out, truncated_bytes);
  }
  out +=
      ",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
      "\"accepted_prediction_tokens\":";
  append_number(out, uint64_t{usage.drafts_accepted});
  out += ",\"rejected_prediction_tokens\":";
  append_number(out, uint64_t{usage.drafts_rejected});
  out += "}}";
}

std::string_view finish_reason(ipc::FinishReason reason, bool called) {
  return called && reason == ipc::FinishReason::kStop ? "tool_calls" : ipc::finish_reason_name(reason);
}

}  // namespace

void clear_keeping_little(std::string& text) {
  text.clear();
  if (text.capacity() > kLittle_bytes) text = std::string();
}

void LogprobText::add(bool chat, uint8_t top, const std::vector<ipc::TokenLogprob>& alternatives,
                      uint64_t offset) {
  if (alternatives.empty()) return;
  separate();
  const auto best = best_of(alternatives, top);
  if (chat) {
    add_chat(alternatives[0], best);
  } else {
    add_text(alternatives[0], best);
    append_number(offsets_, offset);
  }
}

void LogprobText::add_unpredicted(bool chat, std::string_view text, uint64_t offset) {
  if (chat) return;  // no chat echoes its prompt
  separate();
  append_token_name(tokens_, text);
  logprobs_ += "null";
  top_ += "null";
  append_number(offsets_, offset);
}

void LogprobText::separate() {
  if (!starts_.empty()) {
    for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) *list += ',';
  }
  const auto at = [](const std::string& list) { return static_cast<uint32_t>(list.size()); };
  starts_.push_back({at(tokens_), at(logprobs_), at(top_), at(offsets_)});
}

void LogprobText::add_chat(const ipc::TokenLogprob& chosen, const std::vector<ipc::TokenLogprob>& top) {
  append_chat_token(tokens_, chosen);
  tokens_ += ",\"top_logprobs\":[";
  for (size_t i = 0; i < top.size(); ++i) {
    if (i != 0) tokens_ += ',';
    append_chat_token(tokens_, top[i]);
    tokens_ += '}';
  }
  tokens_ += "]}";
}

// `top` as an object: of tokens that are written alike only the likeliest is told.
void LogprobText::add_text(const ipc::TokenLogprob& chosen, const std::vector<ipc::TokenLogprob>& top) {
  append_token_name(tokens_, chosen.text);
  append_logprob(logprobs_, chosen.logprob);
  top_ += '{';
  append_token_name(top_, chosen.text);
  top_ += ':';
  append_logprob(top_, chosen.logprob);
  for (size_t i = 0; i < top.size(); ++i) {
    const auto is_same = [&](const ipc::TokenLogprob& entry) { return entry.text == top[i].text; };
    const auto end = top.begin() + static_cast<std::ptrdiff_t>(i);
    if (top[i].text == chosen.text || std::any_of(top.begin(), end, is_same)) continue;
    top_ += ',';
    append_token_name(top_, top[i].text);
    top_ += ':';
    append_logprob(top_, top[i].logprob);
  }
  top_ += '}';
}

void LogprobText::append_to(std::string& out, bool chat, uint32_t from) const {
  if (from >= end()) {
    out += "null";
    return;
  }
  const Start& start = starts_[from - begin_];
  const auto append = [&out](std::string_view open, const std::string& list, uint32_t at) {
    out += open;
    out += std::string_view(list).substr(at);
  };
  append(chat ? "{\"content\":[" : "{\"tokens\":[", tokens_, start.tokens);
  if (chat) {
    out += "],\"refusal\":null}";
    return;
  }
  append("],\"token_logprobs\":[", logprobs_, start.logprobs);
  append("],\"top_logprobs\":[", top_, start.top);
  append("],\"text_offset\":[", offsets_, start.offsets);
  out += "]}";
}

void LogprobText::release(uint32_t to) {
  if (to == begin_) return;
  if (to == end()) {
    for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) clear_keeping_little(*list);
    starts_.clear();
  } else {
    const Start first = starts_[to - begin_];
    tokens_.erase(0, first.tokens);
    logprobs_.erase(0, first.logprobs);
    top_.erase(0, first.top);
    offsets_.erase(0, first.offsets);
    starts_.erase(starts_.begin(), starts_.begin() + (to - begin_));
    for (Start& start : starts_) {
      start = {start.tokens - first.tokens, start.logprobs - first.logprobs, start.top - first.top,
               start.offsets - first.offsets};
    }
  }
  begin_ = to;
}

AnswerText::AnswerText(const CompletionShape& shape, ipc::RequestId id, int64_t created_unix,
                       ipc::Class service_class)
    : chat_(shape.chat) {
  id_ = chat_ ? "chatcmpl-" : "cmpl-";
  append_hex16(id_, id);
  call_id_prefix_ = "call_";
  append_hex16(call_id_prefix_, id);
  envelope_ = "\",\"created\":";
  append_number(envelope_, static_cast<uint64_t>(created_unix));
  envelope_ += ",\"model\":";
  append_json_string(envelope_, shape.model);
  if (!shape.fingerprint.empty()) {
    envelope_ += ",\"system_fingerprint\":";
    append_json_string(envelope_, shape.fingerprint);
  }
  if (shape.tell_tier) {
    envelope_ += ",\"service_tier\":";
    append_json_string(envelope_, service_tier_name(service_class));
  }
  event_prefix_ = "data: ";
  append_envelope(event_prefix_, chat_ ? "chat.completion.chunk" : "text_completion");
  event_suffix_ = shape.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
}

void AnswerText::append_envelope(std::string& out, std::string_view object) const {
  out += "{\"id\":\"";
  out += id_;
  out += "\",\"object\":\"";
  out += object;
  out += envelope_;
  out += ",\"choices\":[";
}

void AnswerText::append_role_event(std::string& out, size_t choice) const {
  out += event_prefix_;
  out += "{\"index\":";
  append_number(out, uint64_t{choice});
  out += ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null";
  out += event_suffix_;
}

void AnswerText::append_text_event(std::string& out, size_t choice, std::string_view text,
                                   const LogprobText& logprobs, uint32_t first_logprob) const {
  out += event_prefix_;
  out += "{\"index\":";
  append_number(out, uint64_t{choice});
  out += chat_ ? ",\"delta\":{\"content\":\"" : ",\"text\":\"";
  append_json_escaped(out, text);
  out += chat_ ? "\"},\"logprobs\":" : "\",\"logprobs\":";
  logprobs.append_to(out, chat_, first_logprob);
  out += ",\"finish_reason\":null";
  out += event_suffix_;
}

// The members of a list of calls; their ids are the request's, the choice's and their own number.
void AnswerText::append_tool_calls(std::string& out, size_t choice, const std::vector<ToolCall>& calls,
                                   size_t first_call, bool numbered) const {
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i != 0) out += ',';
    out += '{';
    if (numbered) {
      out += "\"index\":";
      append_number(out, uint64_t{first_call + i});
      out += ',';
    }
    out += "\"id\":\"";
    out += call_id_prefix_;
    out += '_';
    append_number(out, uint64_t{choice});
    out += '_';
    append_number(out, uint64_t{first_call + i});
    out += "\",\"type\":\"function\",\"function\":{\"name\":";
    append_json_string(out, calls[i].name);
    out += ",\"arguments\":";
    append_json_string(out, calls[i].arguments);
    out += "}}";
  }
}

void AnswerText::append_tool_calls_event(std::string& out, size_t choice, const std::vector<ToolCall>& calls,
                                         size_t first_call) const {
  out += event_prefix_;
  out += "{\"index\":";
  append_number(out, uint64_t{choice});
  out += ",\"delta\":{\"tool_calls\":[";
  append_tool_calls(out, choice, calls, first_call, true);
  out += "]},\"logprobs\":null,\"finish_reason\":null";
  out += event_suffix_;
}

void AnswerText::append_finish_event(std::string& out, size_t choice, ipc::FinishReason reason,
                                     bool called) const {
  out += event_prefix_;
  out += "{\"index\":";
  append_number(out, uint64_t{choice});
  out += chat_ ? ",\"delta\":{},\"logprobs\":null,\"finish_reason\":\""
               : ",\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"";
  out += finish_reason(reason, called);
  out += '"';
  out += event_suffix_;
}

void AnswerText::append_usage_event(std::string& out, const ipc::Usage& usage,
                                    uint64_t truncated_bytes) const {
  out += event_prefix_;
  out += "],";
  append_usage(out, usage, truncated_bytes);
  out += "}\n\n";
}

void AnswerText::begin_whole(std::string& out) const {
  append_envelope(out, chat_ ? "chat.completion" : "text_completion");
}

void AnswerText::append_whole_choice(std::string& out, size_t choice, std::string_view text,
                                     const std::vector<ToolCall>& calls, const LogprobText& logprobs,
                                     ipc::FinishReason reason) const {
  out += choice == 0 ? "{\"index\":" : ",{\"index\":";
  append_number(out, uint64_t{choice});
  out += chat_ ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"text\":";
  if (text.empty() && !calls.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
  if (!calls.empty()) {
    out += ",\"tool_calls\":[";
    append_tool_calls(out, choice, calls, 0, false);
    out += ']';
  }
  out += chat_ ? ",\"refusal\":null},\"logprobs\":" : ",\"logprobs\":";
  logprobs.append_to(out, chat_, 0);
  out += ",\"finish_reason\":\"";
  out += finish_reason(reason, !calls.empty());
  out += "\"}";
}

void AnswerText::end_whole(std::string& out, const ipc::Usage& usage, uint64_t truncated_bytes) const {
  out += "],";
  append_usage(out, usage, truncated_bytes);
  out += "}\n";
}

}  // namespace deepserve::daemon
