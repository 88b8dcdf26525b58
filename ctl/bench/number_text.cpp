#include "ctl/bench/number_text.h"

#include <charconv>
#include <cmath>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr double kDay_s = 86'400;

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  for (;;) {
    const size_t at = text.find(separator);
    pieces.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return pieces;
    text.remove_prefix(at + 1);
  }
}

Result<double> positive_number(std::string_view what, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value <= 0)
    return fail(Code::kUsage, "{}: \"{}\" is no number above 0", what, text);
  return value;
}

Result<uint64_t> integer_between(std::string_view what, std::string_view text, uint64_t least,
                                 uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return fail(Code::kUsage, "{}: \"{}\" is no integer from {} to {}", what, text, least, most);
  return value;
}

Result<uint64_t> duration_ns(std::string_view what, std::string_view text) {
  double unit_s = 0;
  std::string_view digits = text;
  if (text.ends_with("ms")) {
    unit_s = 0.001;
    digits.remove_suffix(2);
  } else if (text.ends_with('s')) {
    unit_s = 1;
    digits.remove_suffix(1);
  } else if (text.ends_with('m')) {
    unit_s = 60;
    digits.remove_suffix(1);
  } else {
    return fail(Code::kUsage, "{}: \"{}\" needs a unit: 250ms, 1.5s or 2m", what, text);
  }
  TRY_ASSIGN(const double number, positive_number(what, digits));
  const double seconds = number * unit_s;
  if (seconds > kDay_s) return fail(Code::kUsage, "{}: \"{}\" is more than a day", what, text);
  const auto whole_ns = static_cast<uint64_t>(seconds * static_cast<double>(kSecond_ns));
  if (whole_ns == 0) return fail(Code::kUsage, "{}: \"{}\" is less than a nanosecond", what, text);
  return whole_ns;
}

Result<std::vector<double>> positive_numbers(std::string_view what, std::string_view text) {
  constexpr size_t kNumbers_max = 64;
  std::vector<double> numbers;
  for (const std::string_view piece : split(text, ',')) {
    if (numbers.size() == kNumbers_max)
      return fail(Code::kUsage, "{}: more than {} numbers", what, kNumbers_max);
    TRY_ASSIGN(const double number, positive_number(what, piece));
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace deepserve::ctl::bench
