#include "ctl/bench/answer_reader.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>

#include "ctl/json_rows.h"
#include "ctl/sse.h"

namespace deepserve::ctl::bench {
namespace {

namespace http = boost::beast::http;

constexpr size_t kError_body_bytes_max = 64 * 1024;
constexpr size_t kReason_bytes_max = 64;

std::optional<uint64_t> number_in(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What follows `"name":` in a JSON text, found without parsing it; empty when it is not there. Inside strings
// quotes are escaped, so that no text can look like a member. (Parsing each event costs ten times as much.)
std::string_view after_member(std::string_view json, std::string_view quoted_name) {
  const size_t at = json.find(quoted_name);
  if (at == std::string_view::npos) return {};
  json.remove_prefix(at + quoted_name.size());
  const size_t value = json.find_first_not_of(": \t");
  return value == std::string_view::npos ? std::string_view() : json.substr(value);
}

bool has_text(std::string_view json) {
  for (const std::string_view name : {"\"text\"", "\"content\"", "\"reasoning_content\""}) {
    const std::string_view value = after_member(json, name);
    if (value.size() >= 2 && value[0] == '"' && value[1] != '"') return true;
  }
  return false;
}

std::string reason_in(std::string_view body, unsigned status) {
  std::string reason = status >= 300 ? fmt::format("http_{}", status) : "stream_error";
  if (const auto parsed = parse_json(body)) {
    const auto& error = field(*parsed, "error");
    for (const std::string_view name : {"reason", "code", "type"}) {
      const std::string text = text_of(error, name);
      if (text == kNothing) continue;
      reason = text;
      break;
    }
  }
  return reason.substr(0, kReason_bytes_max);
}

uint32_t count_in(const boost::json::value& usage, std::string_view name) {
  constexpr double kMost = 1e9;
  const double count = number_of(usage, name).value_or(0);
  return count > 0 && count < kMost ? static_cast<uint32_t>(count) : 0;
}

}  // namespace

struct AnswerReader::Parts {
  std::optional<http::response_parser<http::string_body>> parser;
  std::string unparsed;
  SseReader events;
  std::string error_body;
  std::string stream_error;
  State state = State::kHead;
  bool is_stream = false;
  bool has_finish = false;
  bool has_done = false;
  unsigned text_events = 0;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;

  std::string_view header(std::string_view name) const { return parser->get()[name]; }

  void take_event(const SseEvent& event) {
    const std::string_view data = event.data;
    if (data == "[DONE]") {
      has_done = true;
      return;
    }
    if (event.event == "error" || data.starts_with("{\"error\"")) {
      stream_error = reason_in(data, 200);
      return;
    }
    if (has_text(data)) ++text_events;
    if (after_member(data, "\"finish_reason\"").starts_with('"')) has_finish = true;
    if (!after_member(data, "\"usage\"").starts_with('{')) return;
    const auto parsed = parse_json(data);
    if (!parsed) return;
    prompt_tokens = count_in(field(*parsed, "usage"), "prompt_tokens");
    completion_tokens = count_in(field(*parsed, "usage"), "completion_tokens");
  }
};

AnswerReader::AnswerReader() {
  restart();
}
AnswerReader::AnswerReader(AnswerReader&&) noexcept = default;
AnswerReader& AnswerReader::operator=(AnswerReader&&) noexcept = default;
AnswerReader::~AnswerReader() = default;

void AnswerReader::restart() {
  parts_ = std::make_unique<Parts>();
  parts_->parser.emplace();
  parts_->parser->eager(true);
  parts_->parser->body_limit(boost::none);
}

AnswerReader::State AnswerReader::feed(std::string_view bytes) {
  Parts& parts = *parts_;
  if (parts.state == State::kDone || parts.state == State::kBroken) return parts.state;
  parts.unparsed.append(bytes);
  size_t done = 0;
  boost::system::error_code error;
  while (done < parts.unparsed.size() && !parts.parser->is_done()) {
    const size_t used = parts.parser->put(
        boost::asio::buffer(parts.unparsed.data() + done, parts.unparsed.size() - done), error);
    done += used;
    if (error == http::error::need_more) {
      if (used == 0) break;
      error = {};
      continue;
    }
    if (error) return parts.state = State::kBroken;
  }
  parts.unparsed.erase(0, done);
  if (!parts.parser->is_header_done()) return parts.state;
  if (parts.state == State::kHead) {
    parts.state = State::kBody;
    parts.is_stream = parts.header("Content-Type").starts_with("text/event-stream");
  }
  take_body();
  if (parts.parser->is_done()) parts.state = State::kDone;
  return parts.state;
}

void AnswerReader::take_body() {
  Parts& parts = *parts_;
  std::string& body = parts.parser->get().body();
  if (parts.is_stream) {
    parts.events.feed(body);
    while (const auto event = parts.events.next()) parts.take_event(*event);
  } else if (parts.error_body.size() + body.size() <= kError_body_bytes_max) {
    parts.error_body += body;
  }
  body.clear();
}

AnswerReader::State AnswerReader::end_of_connection() {
  Parts& parts = *parts_;
  if (parts.state == State::kDone || parts.state == State::kBroken) return parts.state;
  boost::system::error_code error;
  if (parts.parser->got_some()) parts.parser->put_eof(error);
  const bool is_done = parts.parser->is_header_done() && parts.parser->is_done() && !error;
  return parts.state = is_done ? State::kDone : State::kBroken;
}

bool AnswerReader::has_some() const {
  return parts_->parser->got_some() || !parts_->unparsed.empty();
}

AnswerReader::State AnswerReader::state() const {
  return parts_->state;
}

unsigned AnswerReader::status() const {
  return parts_->parser->get().result_int();
}

std::optional<uint64_t> AnswerReader::retry_after_ms() const {
  constexpr uint64_t kSeconds_max = UINT64_MAX / 1000;
  if (const auto exact_ms = number_in(parts_->header("retry-after-ms"))) return exact_ms;
  const auto seconds = number_in(parts_->header("Retry-After"));
  if (!seconds || *seconds > kSeconds_max) return std::nullopt;
  return *seconds * 1000;
}

std::string AnswerReader::ticket() const {
  return std::string(parts_->header("X-Deepserve-Ticket"));
}

std::string AnswerReader::degradation() const {
  return std::string(parts_->header("X-Deepserve-Degraded").substr(0, kReason_bytes_max));
}

unsigned AnswerReader::take_text_events() {
  return std::exchange(parts_->text_events, 0);
}

bool AnswerReader::is_whole() const {
  return parts_->has_finish && parts_->has_done && parts_->stream_error.empty();
}

bool AnswerReader::keeps_connection() const {
  return parts_->state == State::kDone && parts_->unparsed.empty() && parts_->parser->get().keep_alive();
}

std::string AnswerReader::reason() const {
  if (parts_->is_stream) return parts_->stream_error.empty() ? "stream_cut_off" : parts_->stream_error;
  return reason_in(parts_->error_body, status());
}

uint32_t AnswerReader::prompt_tokens() const {
  return parts_->prompt_tokens;
}

uint32_t AnswerReader::completion_tokens() const {
  return parts_->completion_tokens;
}

}  // namespace deepserve::ctl::bench
