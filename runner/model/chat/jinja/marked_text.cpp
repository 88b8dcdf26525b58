#include "runner/model/chat/jinja/marked_text.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner::jinja {

void MarkedText::append(std::string_view bytes, Author author) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!runs_.empty() && runs_.back().author == author) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), author});
  }
}

void MarkedText::append(const MarkedText& other, size_t begin, size_t end) {
  CHECK(begin <= end && end <= other.size() && &other != this);
  const auto first = std::upper_bound(other.runs_.begin(), other.runs_.end(), begin,
                                      [](size_t at, const Run& run) { return at < run.end; });
  for (auto run = first; begin < end; ++run) {
    const size_t until = std::min(end, run->end);
    append(std::string_view(other.bytes_).substr(begin, until - begin), run->author);
    begin = until;
  }
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText part;
  part.append(*this, begin, end);
  return part;
}

MarkedText MarkedText::slice(std::string_view part) const {
  if (part.empty()) return {};
  const auto begin = static_cast<size_t>(part.data() - bytes_.data());
  return slice(begin, begin + part.size());
}

}  // namespace deepserve::runner::jinja
