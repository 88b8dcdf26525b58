#include "tests/sim/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

namespace deepserve::sim {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 420;
constexpr double kLeft = 70;
constexpr double kRight = 190;  // of the legend
constexpr double kTop = 40;
constexpr double kBottom = 50;
constexpr std::array kColours = {"#0b6e4f", "#222222", "#c1292e", "#e08e45",
                                 "#7768ae", "#3a86ff", "#8d6b94", "#7f7f7f"};
constexpr int kTicks = 5;

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else
      result += c;
  }
  return result;
}

// The values' range, and where they lie on the page.
struct Axis {
  double low = 0;
  double high = 1;
  double from = 0;  // on the page
  double to = 1;
  bool log = false;

  bool shows(double value) const { return std::isfinite(value) && (!log || value > 0); }
  double place(double value) const {
    const double v = log ? std::log10(value) : value;
    return from + (v - low) / (high - low) * (to - from);
  }
  double tick(int i) const {
    const double v = low + (high - low) * i / kTicks;
    return log ? std::pow(10, v) : v;
  }
};

Axis axis_of(const Chart& chart, bool is_y) {
  Axis axis;
  axis.log = is_y && chart.log_y;
  bool any = false;
  for (const auto& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      double v = is_y ? y : x;
      if (!axis.shows(v)) continue;
      if (axis.log) v = std::log10(v);
      axis.low = any ? std::min(axis.low, v) : v;
      axis.high = any ? std::max(axis.high, v) : v;
      any = true;
    }
  }
  if (is_y && !axis.log) axis.low = std::min(axis.low, 0.0);
  if (axis.high <= axis.low) axis.high = axis.low + 1;
  axis.from = is_y ? kHeight - kBottom : kLeft;
  axis.to = is_y ? kTop : kWidth - kRight;
  return axis;
}

}  // namespace

std::string svg_of(const Chart& chart) {
  std::string text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
                 "{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
                 "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
                 "<text x=\"{2}\" y=\"22\" font-size=\"15\">{3}</text>\n",
                 kWidth, kHeight, kLeft, escaped(chart.title));
  const Axis x_axis = axis_of(chart, false);
  const Axis y_axis = axis_of(chart, true);
  for (int i = 0; i <= kTicks; ++i) {
    const double x = x_axis.place(x_axis.tick(i));
    const double y = y_axis.place(y_axis.tick(i));
    fmt::format_to(out, "<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#dddddd\"/>\n", kLeft, y, x_axis.to);
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.3g}</text>\n", kLeft - 6,
                   y + 4, y_axis.tick(i));
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.3g}</text>\n", x,
                   kHeight - kBottom + 18, x_axis.tick(i));
  }
  fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                 (kLeft + x_axis.to) / 2, kHeight - 12, escaped(chart.x_label));
  fmt::format_to(out,
                 "<text transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                 (kTop + kHeight - kBottom) / 2, escaped(chart.y_label));
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const char* colour = kColours.at(i % kColours.size());
    std::string points;
    for (const auto& [x, y] : chart.series[i].points) {
      if (!x_axis.shows(x) || !y_axis.shows(y)) continue;
      fmt::format_to(std::back_inserter(points), "{:.1f},{:.1f} ", x_axis.place(x), y_axis.place(y));
    }
    fmt::format_to(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", points,
                   colour);
    const double y = kTop + 18 * static_cast<double>(i) + 8;
    fmt::format_to(out, "<path d=\"M{:.1f} {:.1f}h18\" stroke=\"{}\" stroke-width=\"2\"/>\n", x_axis.to + 14,
                   y, colour);
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x_axis.to + 38, y + 4,
                   escaped(chart.series[i].name));
  }
  text += "</svg>\n";
  return text;
}

}  // namespace deepserve::sim
