// A line chart as an SVG file: series of points over one pair of axes, a legend, nothing else.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace deepserve::sim {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by x
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_y = false;  // points at 0 or below are left out
  std::vector<ChartSeries> series;
};

// The file's text.
std::string svg_of(const Chart& chart);

}  // namespace deepserve::sim
