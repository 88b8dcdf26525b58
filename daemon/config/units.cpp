#include "daemon/config/units.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array kDurationUnits = {
    Unit{"h", 3600 * kSecond_ns}, Unit{"m", 60 * kSecond_ns},  Unit{"s", kSecond_ns},
    Unit{"ms", kMillisecond_ns},  Unit{"us", kMicrosecond_ns}, Unit{"ns", 1},
};
constexpr std::array kSizeUnits = {
    Unit{"TiB", uint64_t{1} << 40},
    Unit{"GiB", uint64_t{1} << 30},
    Unit{"MiB", uint64_t{1} << 20},
    Unit{"KiB", uint64_t{1} << 10},
    Unit{"TB", 1'000'000'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"MB", 1'000'000},
    Unit{"kB", 1'000},
    Unit{"B", 1},
};

template <size_t N>
Result<uint64_t> parse_with_units(std::string_view text, const std::array<Unit, N>& units,
                                  std::string_view what, std::string_view example) {
  const size_t digits = text.find_first_not_of("0123456789.");
  const std::string number(text.substr(0, digits));
  const std::string_view unit_name = digits == std::string_view::npos ? "" : text.substr(digits);
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  const bool is_number = !number.empty() && *end == '\0' && std::isfinite(value);
  for (const auto& unit : units) {
    if (!is_number || unit.name != unit_name) continue;
    const double scaled = value * static_cast<double>(unit.factor);
    if (scaled >= 9.0e18) return fail(Code::kInvalidConfig, "'{}' is too large for a {}", text, what);
    return static_cast<uint64_t>(std::llround(scaled));
  }
  return fail(Code::kInvalidConfig, "'{}' is no {}: write it like {}", text, what, example);
}

template <size_t N>
std::string text_with_units(uint64_t value, const std::array<Unit, N>& units) {
  for (const auto& unit : units) {
    if (value != 0 && value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  }
  return fmt::format("0{}", units.back().name);
}

}  // namespace

Result<uint64_t> parse_duration_ns(std::string_view text) {
  return parse_with_units(text, kDurationUnits, "duration", "\"500ms\", \"60s\" or \"10m\"");
}

Result<uint64_t> parse_size_bytes(std::string_view text) {
  return parse_with_units(text, kSizeUnits, "size", "\"8GiB\" or \"512MiB\"");
}

std::string duration_text(uint64_t duration_ns) {
  return duration_ns == 0 ? "0s" : text_with_units(duration_ns, kDurationUnits);
}
std::string size_text(uint64_t bytes) {
  return text_with_units(bytes, kSizeUnits);
}

}  // namespace deepserve::daemon
