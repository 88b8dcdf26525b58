// Collects a request's head (request line and fields) and refuses, as early as a byte tells, what parsers are
// known to disagree about (RFC 9112 sections 2.2, 5.1, 5.2, 11.2): that disagreement is how requests are
// smuggled.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "daemon/http/limits.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

class HeadScanner {
 public:
  explicit HeadScanner(const HttpLimits& limits) : limits_(limits) {}

  // Takes bytes up to the end of the head and says how many. kInvalidRequest for bare CR or LF, control
  // characters, folded fields, blanks around a field's name, fields without a colon; kHttpVersion for another
  // protocol than HTTP/1.x; kHeaderTooLarge beyond the limits.
  Result<size_t> scan(std::string_view bytes);

  bool done() const { return done_; }
  // Empty until the first byte that is not a blank line before the request (RFC 9112 section 2.2 has those
  // ignored).
  const std::string& head() const { return head_; }

 private:
  Result<void> take(char c);
  Result<void> end_line();

  const HttpLimits& limits_;
  std::string head_;
  size_t line_begin_ = 0;
  size_t fields_ = 0;
  size_t blank_lines_ = 0;
  bool carriage_return_ = false;  // the last byte was a CR
  bool done_ = false;
};

// One of the characters that methods and field names consist of (RFC 9110 section 5.6.2).
bool is_token_character(char c);

}  // namespace deepserve::daemon
