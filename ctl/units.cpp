#include "ctl/units.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace deepserve::ctl {

std::string human_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_duration(double duration_s) {
  if (!(duration_s >= 0)) return "-";
  if (duration_s < 10) return fmt::format("{:.1f} s", duration_s);
  constexpr double kLongest_s = 1e15;  // beyond it the conversion below would overflow
  const auto whole = static_cast<uint64_t>(duration_s < kLongest_s ? duration_s : kLongest_s);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86400, whole / 3600 % 24);
}

std::string human_count(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

}  // namespace deepserve::ctl
