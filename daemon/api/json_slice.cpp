#include "daemon/api/json_slice.h"

namespace deepserve::daemon {
namespace {

// Reads from left to right and never beyond the end, whatever the text.
class Scanner {
 public:
  explicit Scanner(std::string_view json) : json_(json) {}

  bool at_end() const { return at_ >= json_.size(); }

  void skip_spaces() {
    while (!at_end() && std::string_view(" \t\r\n").find(json_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char wanted) {
    skip_spaces();
    if (at_end() || json_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  // The value that comes next.
  std::string_view value() {
    skip_spaces();
    const size_t begin = at_;
    size_t depth = 0;
    while (!at_end()) {
      const char c = json_[at_];
      if (c == '"') {
        skip_string();
      } else if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
        break;
      } else {
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        ++at_;
      }
      const bool closed = c == '"' || c == '}' || c == ']';
      if (depth == 0 && closed) break;
    }
    return without_spaces(json_.substr(begin, at_ - begin));
  }

 private:
  void skip_string() {
    for (++at_; !at_end() && json_[at_] != '"'; ++at_) {
      if (json_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  static std::string_view without_spaces(std::string_view text) {
    const size_t last = text.find_last_not_of(" \t\r\n");
    return text.substr(0, last == text.npos ? 0 : last + 1);
  }

  std::string_view json_;
  size_t at_ = 0;
};

}  // namespace

std::optional<std::string_view> member_slice(std::string_view json, std::string_view key) {
  Scanner scanner(json);
  if (!scanner.take('{')) return std::nullopt;
  while (!scanner.at_end()) {
    std::string_view name = scanner.value();
    if (!scanner.take(':')) break;
    const std::string_view value = scanner.value();
    if (name.size() == key.size() + 2 && name.substr(1, key.size()) == key) return value;
    if (!scanner.take(',')) break;
  }
  return std::nullopt;
}

std::vector<std::string_view> item_slices(std::string_view json) {
  std::vector<std::string_view> items;
  Scanner scanner(json);
  if (!scanner.take('[') || scanner.take(']')) return items;
  do {
    items.push_back(scanner.value());
  } while (scanner.take(','));
  return items;
}

}  // namespace deepserve::daemon
