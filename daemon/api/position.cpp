#include "daemon/api/position.h"

#include <charconv>

#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kIdDigits = 16;
constexpr size_t kChoicesMax = 4096;  // more than any answer has

// Takes a number off the front of `text`; false when there is none.
template <typename Number>
bool take_number(std::string_view& text, Number& number, int base = 10) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (problem != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

bool take_choice(std::string_view& text, ChoicePosition& choice) {
  choice.begun = !take(text, '-');
  if (!choice.begun) return true;
  if (!take_number(text, take(text, 'e') ? choice.echoed : choice.tokens)) return false;
  if (take(text, '+') && !take_number(text, choice.tail_bytes)) return false;
  if (take(text, 'c') && !take_number(text, choice.calls.emplace())) return false;
  choice.finished = take(text, 'f');
  return true;
}

}  // namespace

void append_position(std::string& out, const ChoicePosition& position) {
  if (!position.begun) {
    out += '-';
    return;
  }
  if (position.echoed != 0) out += 'e';
  append_number(out, uint64_t{position.echoed != 0 ? position.echoed : position.tokens});
  if (position.tail_bytes != 0) {
    out += '+';
    append_number(out, position.tail_bytes);
  }
  if (position.calls) {
    out += 'c';
    append_number(out, uint64_t{*position.calls});
  }
  if (position.finished) out += 'f';
}

std::optional<StreamPosition> parse_position(std::string_view text) {
  StreamPosition position;
  if (text.size() <= kIdDigits || text[kIdDigits] != ':') return std::nullopt;
  std::string_view digits = text.substr(0, kIdDigits);
  if (!take_number(digits, position.request, 16) || !digits.empty()) return std::nullopt;
  text.remove_prefix(kIdDigits);
  while (take(text, position.choices.empty() ? ':' : '.')) {
    if (position.choices.size() == kChoicesMax) return std::nullopt;
    if (!take_choice(text, position.choices.emplace_back())) return std::nullopt;
  }
  position.usage_told = text == ":u";
  if (!text.empty() && !position.usage_told) return std::nullopt;
  return position;
}

}  // namespace deepserve::daemon
