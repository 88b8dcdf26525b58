// Goodput and p99 TTFT over the load, as an SVG. Pure.
#pragma once

#include <string>
#include <vector>

#include "ctl/bench/experiment.h"

namespace deepserve::ctl::bench {

struct Series {
  std::string name;
  std::vector<double> values;  // one for each x; negative: nothing was measured there
};

struct Panel {
  std::string title;
  std::vector<Series> series;
};

// Panels side by side over the same x (ascending or not, above 0; spread evenly by logarithm where the
// largest is more than four times the smallest).
std::string svg_of(const std::string& x_title, const std::vector<double>& x,
                   const std::vector<Panel>& panels);

// Of a report with at least one point.
std::string svg_plot(const Settings& settings, const Report& report);

}  // namespace deepserve::ctl::bench
