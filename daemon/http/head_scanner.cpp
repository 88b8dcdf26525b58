#include "daemon/http/head_scanner.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

constexpr size_t kBlankLinesMax = 2;

Result<void> check_request_line(std::string_view line) {
  const size_t space = line.rfind(' ');
  const std::string_view version = space == line.npos ? std::string_view() : line.substr(space + 1);
  if (version == "HTTP/1.1" || version == "HTTP/1.0") return {};
  if (version.starts_with("HTTP/") && version.size() > 5 && version[5] >= '0' && version[5] <= '9') {
    return fail(Code::kHttpVersion, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  return fail(Code::kInvalidRequest,
              "the request line does not end in HTTP/1.1 (HTTP/0.9 is not spoken here)");
}

Result<void> check_field_line(std::string_view line) {
  if (line[0] == ' ' || line[0] == '\t') {
    return fail(Code::kInvalidRequest, "a header field is folded over several lines");
  }
  const size_t colon = line.find(':');
  if (colon == line.npos) return fail(Code::kInvalidRequest, "a header field has no colon");
  const std::string_view name = line.substr(0, colon);
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_token_character)) {
    return fail(Code::kInvalidRequest,
                "a header field's name is empty or has a blank or another forbidden character");
  }
  return {};
}

}  // namespace

bool is_token_character(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

Result<size_t> HeadScanner::scan(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size() && !done_) TRY(take(bytes[taken++]));
  return taken;
}

Result<void> HeadScanner::take(char c) {
  if (carriage_return_ != (c == '\n')) {
    return fail(Code::kInvalidRequest, "a line of the request's head does not end in CR LF");
  }
  carriage_return_ = c == '\r';
  const auto byte = static_cast<unsigned char>(c);
  if ((byte < 0x20 && c != '\r' && c != '\n' && c != '\t') || byte == 0x7f) {
    return fail(Code::kInvalidRequest, "the request's head contains a control character");
  }
  if (head_.empty() && c != '\r' && c != '\n' && !is_token_character(c)) {
    return fail(Code::kInvalidRequest, "this does not look like HTTP");
  }
  if (head_.size() >= limits_.head_bytes_max) {
    return fail(Code::kHeaderTooLarge, "the request's head is longer than {} bytes", limits_.head_bytes_max);
  }
  head_ += c;
  if (c == '\n') return end_line();
  return {};
}

Result<void> HeadScanner::end_line() {
  const std::string_view line = std::string_view(head_).substr(line_begin_, head_.size() - line_begin_ - 2);
  const bool is_request_line = line_begin_ == 0;
  if (line.empty()) {
    if (!is_request_line) {
      done_ = true;
      return {};
    }
    head_.clear();
    if (++blank_lines_ > kBlankLinesMax)
      return fail(Code::kInvalidRequest, "blank lines in place of a request");
    return {};
  }
  if (is_request_line) {
    TRY(check_request_line(line));
  } else {
    TRY(check_field_line(line));
    if (++fields_ > limits_.head_fields_max) {
      return fail(Code::kHeaderTooLarge, "the request has more than {} header fields",
                  limits_.head_fields_max);
    }
  }
  line_begin_ = head_.size();
  return {};
}

}  // namespace deepserve::daemon
