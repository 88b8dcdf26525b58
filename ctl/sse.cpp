#include "ctl/sse.h"

#include <utility>

namespace deepserve::ctl {

void SseReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (std::exchange(after_carriage_return_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (end == std::string_view::npos) return;
    after_carriage_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    take_line();
  }
}

std::optional<SseEvent> SseReader::next() {
  if (ready_.empty()) return std::nullopt;
  SseEvent event = std::move(ready_.front());
  ready_.pop_front();
  return event;
}

void SseReader::take_line() {
  const std::string line = std::exchange(line_, {});
  if (line.empty()) {
    SseEvent event = std::exchange(current_, {});
    if (std::exchange(has_data_, false)) ready_.push_back(std::move(event));
    return;
  }
  const size_t colon = line.find(':');
  if (colon == 0) return;  // a comment: it only keeps the connection alive
  const std::string_view field = std::string_view(line).substr(0, colon);
  std::string_view value =
      colon == std::string::npos ? std::string_view() : std::string_view(line).substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) current_.data += '\n';
    current_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    current_.event = value;
  } else if (field == "id") {
    current_.id = value;
  }
}

}  // namespace deepserve::ctl
