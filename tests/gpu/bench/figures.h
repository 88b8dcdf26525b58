// Figures as tests/gpu/run reads them (tests/gpu/README.md).
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "runner/bench/step_timer.h"

namespace deepserve::runner {

struct Figure {
  std::string name;
  double value;
  std::string unit;
  size_t n;
  double least, most;
};

inline void print(const std::vector<Figure>& figures, bool json) {
  if (!json) {
    for (const Figure& one : figures) {
      fmt::print("{:<52} {:.4g} {} (n={}, {:.4g} to {:.4g})\n", one.name, one.value, one.unit, one.n,
                 one.least, one.most);
    }
    return;
  }
  fmt::print("{{\"figures\": [");
  for (size_t i = 0; i < figures.size(); ++i) {
    const Figure& one = figures[i];
    fmt::print(
        "{}{{\"name\": \"{}\", \"value\": {:.6g}, \"unit\": \"{}\", \"n\": {}, \"spread\": "
        "\"{:.4g}-{:.4g}\"}}",
        i == 0 ? "" : ", ", one.name, one.value, one.unit, one.n, one.least, one.most);
  }
  fmt::print("]}}\n");
}

// The median, least and most of `scale / seconds`.
inline Figure rate(std::string name, Durations_ns durations, double scale, std::string unit) {
  std::sort(durations.begin(), durations.end());
  const auto of = [&](uint64_t taken_ns) { return scale / (static_cast<double>(taken_ns) / 1e9); };
  return {std::move(name),      of(durations[durations.size() / 2]),
          std::move(unit),      durations.size(),
          of(durations.back()), of(durations.front())};
}

}  // namespace deepserve::runner
