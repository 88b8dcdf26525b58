#include "runner/engine/stop_matcher.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

// The longest end of `text` that is the beginning, but not all, of `stop`.
size_t overlap(std::string_view text, std::string_view stop) {
  for (size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (text.ends_with(stop.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

bool StopMatcher::append(std::string_view text, std::string& out) {
  if (stops_.empty()) {
    out += text;
    return false;
  }
  held_ += text;
  size_t match_begin = std::string::npos;
  size_t match_end = std::string::npos;
  for (const auto& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < match_end || (end == match_end && begin < match_begin)) {
      match_begin = begin;
      match_end = end;
    }
  }
  if (match_end != std::string::npos) {
    out.append(held_, 0, match_begin);
    held_.clear();
    return true;
  }
  size_t keep = 0;
  for (const auto& stop : stops_) keep = std::max(keep, overlap(held_, stop));
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

void StopMatcher::flush(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace deepserve::runner
