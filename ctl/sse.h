// Reads server-sent events (HTML standard, section 9.2) from bytes that arrive in pieces of any size.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace deepserve::ctl {

struct SseEvent {
  std::string event;  // empty: a plain message
  std::string data;   // several data lines are joined by newlines
  std::string id;
};

class SseReader {
 public:
  void feed(std::string_view bytes);
  // The next whole event; nothing until more bytes arrive. An event that its blank line never ended is never
  // given.
  std::optional<SseEvent> next();

 private:
  void take_line();

  std::string line_;
  bool after_carriage_return_ = false;
  SseEvent current_;
  bool has_data_ = false;
  std::deque<SseEvent> ready_;
};

}  // namespace deepserve::ctl
