#include "daemon/api/tool_call_reader.h"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "daemon/api/json_slice.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kPythonTag = "<|python_tag|>";
constexpr std::string_view kDeepSeekSeparator = "<｜tool▁sep｜>";
constexpr uint32_t kDepthMax = 64;

struct Marks {
  std::string_view open;
  std::string_view close;
  std::vector<std::string_view> wrapping;  // left out wherever they are
};

const Marks& marks_of(ToolCallFormat format) {
  static const Marks kTagged = {"<tool_call>", "</tool_call>", {}};
  static const Marks kDeepSeek = {
      "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"}};
  return format == ToolCallFormat::kDeepSeek ? kDeepSeek : kTagged;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

// `text` must be a JSON object; none where it is not.
std::optional<json::object> parsed_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code error;
  json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.as_object());
}

// {"name": ..., and the arguments as "arguments" or "parameters"}, an object, or JSON in a string.
std::optional<ToolCall> json_call(std::string_view text) {
  text = trimmed(text);
  const auto object = parsed_object(text);
  if (!object) return std::nullopt;
  const json::value* name = object->if_contains("name");
  const bool has_name = name != nullptr && name->is_string() && !name->as_string().empty();
  if (!has_name) return std::nullopt;
  ToolCall call{std::string(name->as_string()), "{}"};
  for (const std::string_view key : {"arguments", "parameters"}) {
    const json::value* arguments = object->if_contains(key);
    if (arguments == nullptr) continue;
    if (arguments->is_object()) {
      call.arguments = member_slice(text, key).value_or("{}");
      return call;
    }
    const bool is_text = arguments->is_string() && parsed_object(arguments->as_string());
    if (!is_text) return std::nullopt;
    call.arguments = arguments->as_string();
    return call;
  }
  return call;
}

// "function<sep>NAME\n```json\n{...}\n```" of V3 and R1, "NAME<sep>{...}" of V3.1.
std::optional<ToolCall> deepseek_call(std::string_view text) {
  const size_t separator = text.find(kDeepSeekSeparator);
  if (separator == text.npos) return std::nullopt;
  const std::string_view before = trimmed(text.substr(0, separator));
  std::string_view after = trimmed(text.substr(separator + kDeepSeekSeparator.size()));
  ToolCall call{std::string(before), ""};
  if (const size_t fence = after.find("\n```json"); fence != after.npos && after.ends_with("```")) {
    call.name = trimmed(after.substr(0, fence));
    after = after.substr(fence + 8, std::max(after.size() - fence - 8, size_t{3}) - 3);
  }
  call.arguments = trimmed(after);
  if (call.name.empty() || !parsed_object(call.arguments)) return std::nullopt;
  return call;
}

// How many bytes at the end of `text` could be the beginning of `mark`.
size_t begun_bytes(std::string_view text, std::string_view mark) {
  for (size_t bytes = std::min(text.size(), mark.size() - 1); bytes > 0; --bytes) {
    if (text.ends_with(mark.substr(0, bytes))) return bytes;
  }
  return 0;
}

}  // namespace

ToolCallFormat tool_call_format(std::string_view chat_template) {
  if (chat_template == "chatml") return ToolCallFormat::kTagged;
  if (chat_template == "llama3") return ToolCallFormat::kJsonAnswer;
  if (chat_template.starts_with("deepseek")) return ToolCallFormat::kDeepSeek;
  return ToolCallFormat::kNone;
}

void ToolCallReader::take(std::string_view piece, std::string& text, std::vector<ToolCall>& calls) {
  if (format_ == ToolCallFormat::kNone || is_plain_) {
    text += piece;
    return;
  }
  held_ += piece;
  while (advance(false, text, calls)) {
  }
}

void ToolCallReader::finish(std::string& text, std::vector<ToolCall>& calls) {
  if (format_ == ToolCallFormat::kJsonAnswer && !is_plain_) return finish_json_answer(text, calls);
  while (advance(true, text, calls)) {
  }
  if (!called_) text += spaces_;
  spaces_.clear();
}

// One step; false when there is nothing to do before more comes.
bool ToolCallReader::advance(bool at_end, std::string& text, std::vector<ToolCall>& calls) {
  if (format_ == ToolCallFormat::kJsonAnswer) {
    const std::string_view begun = trimmed(held_);
    const bool may_be_call =
        begun.empty() || begun[0] == '{' || begun.starts_with(kPythonTag) || kPythonTag.starts_with(begun);
    if (may_be_call || is_plain_) return false;
    is_plain_ = true;
    text += std::exchange(held_, {});
    return false;
  }
  if (held_.empty()) return false;
  return in_call_ ? close_call(at_end, text, calls) : skip_text(at_end, text);
}

// Tells the first bytes of held_, but the white space at their end, which waits for what follows.
void ToolCallReader::tell_text(size_t bytes, std::string& text) {
  const std::string_view told = std::string_view(held_).substr(0, bytes);
  const size_t last = told.find_last_not_of(kSpaces);
  if (last == told.npos) {
    spaces_ += told;
  } else {
    text += std::exchange(spaces_, std::string(told.substr(last + 1)));
    text += told.substr(0, last + 1);
  }
  held_.erase(0, bytes);
}

bool ToolCallReader::skip_text(bool at_end, std::string& text) {
  const Marks& marks = marks_of(format_);
  std::string_view found = marks.open;
  size_t at = held_.find(marks.open);
  size_t begun = begun_bytes(held_, marks.open);
  for (const std::string_view mark : marks.wrapping) {
    const size_t other = held_.find(mark);
    if (other < at) {
      at = other;
      found = mark;
    }
    begun = std::max(begun, begun_bytes(held_, mark));
  }
  if (at == held_.npos) {
    const size_t certain = held_.size() - (at_end ? 0 : begun);
    if (certain == 0) return false;
    tell_text(certain, text);
    return false;
  }
  tell_text(at, text);
  in_call_ = found == marks.open;
  searched_ = in_call_ ? found.size() : 0;
  if (!in_call_) held_.erase(0, found.size());
  return true;
}

bool ToolCallReader::close_call(bool at_end, std::string& text, std::vector<ToolCall>& calls) {
  const Marks& marks = marks_of(format_);
  const size_t close = held_.find(marks.close, searched_);
  if (close == held_.npos && !at_end) {
    const size_t open_bytes = marks.open.size();
    searched_ = std::max(open_bytes, held_.size() - std::min(held_.size(), marks.close.size() - 1));
    return false;
  }
  const size_t end = std::min(close, held_.size());
  const std::string_view inside = std::string_view(held_).substr(marks.open.size(), end - marks.open.size());
  const auto call = format_ == ToolCallFormat::kDeepSeek ? deepseek_call(inside) : json_call(inside);
  const size_t taken = close == held_.npos ? held_.size() : close + marks.close.size();
  in_call_ = false;
  if (call) {
    calls.push_back(*call);
    called_ = true;
    spaces_.clear();
    held_.erase(0, taken);
  } else {
    tell_text(taken, text);
  }
  return true;
}

// The answer is a call, or several with a semicolon or white space between, or else text.
void ToolCallReader::finish_json_answer(std::string& text, std::vector<ToolCall>& calls) {
  std::string_view rest = trimmed(held_);
  if (rest.starts_with(kPythonTag)) rest = trimmed(rest.substr(kPythonTag.size()));
  std::vector<ToolCall> found;
  json::stream_parser parser;
  while (!rest.empty()) {
    json::error_code error;
    parser.reset();
    const size_t bytes = parser.write_some(rest.data(), rest.size(), error);
    const auto call = error || !parser.done() ? std::nullopt : json_call(rest.substr(0, bytes));
    if (!call) {
      found.clear();
      break;
    }
    found.push_back(*call);
    rest = trimmed(rest.substr(bytes));
    if (rest.starts_with(';')) rest = trimmed(rest.substr(1));
  }
  if (found.empty()) {
    text += held_;
  } else {
    calls.insert(calls.end(), found.begin(), found.end());
  }
  held_.clear();
}

}  // namespace deepserve::daemon
