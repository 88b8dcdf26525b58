// Finds the tool calls in what a model writes. Pure.
//
// A model says that it calls a tool in marks that it was trained on; its client wants to read them apart from
// the text, as OpenAI's API tells them. What is between the marks and is no call (no JSON, no name) stays
// text, marks and all: nothing that the model wrote is lost.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deepserve::daemon {

enum class ToolCallFormat : uint8_t {
  kNone,        // all is text
  kTagged,      // <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Qwen, Hermes
  kJsonAnswer,  // an answer that is {"name": ..., "parameters": {...}} and nothing else: Llama 3
  kDeepSeek,    // <|tool_call_begin|>...<|tool_sep|>...<|tool_call_end|>, in DeepSeek's letters
};

// How the models of a chat template's family (ipc::RunnerState::chat_template) write their calls.
ToolCallFormat tool_call_format(std::string_view chat_template);

struct ToolCall {
  std::string name;
  std::string arguments;  // JSON, as the model wrote it

  bool operator==(const ToolCall&) const = default;
};

// The calls of one answer that comes in pieces. However it is cut, the text and the calls are the same.
class ToolCallReader {
 public:
  explicit ToolCallReader(ToolCallFormat format = ToolCallFormat::kNone) : format_(format) {}

  // Appends to `text` what is certain to be text, to `calls` the calls that are complete.
  void take(std::string_view piece, std::string& text, std::vector<ToolCall>& calls);
  // The same with what is left: nothing more will come.
  void finish(std::string& text, std::vector<ToolCall>& calls);
  size_t held_bytes() const { return held_.size(); }

 private:
  bool advance(bool at_end, std::string& text, std::vector<ToolCall>& calls);
  bool skip_text(bool at_end, std::string& text);
  bool close_call(bool at_end, std::string& text, std::vector<ToolCall>& calls);
  void tell_text(size_t bytes, std::string& text);
  void finish_json_answer(std::string& text, std::vector<ToolCall>& calls);

  ToolCallFormat format_;
  std::string held_;       // not decided yet
  std::string spaces_;     // white space that is text only if text follows
  size_t searched_ = 0;    // of held_: no closing mark begins before it
  bool in_call_ = false;   // held_ begins with the opening mark
  bool called_ = false;    // there was a call
  bool is_plain_ = false;  // kJsonAnswer: the answer does not begin as a call would
};

}  // namespace deepserve::daemon
