#include "ctl/bench/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ctl/bench/report_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr double kPanel_width = 460;
constexpr double kPanel_height = 320;
constexpr double kLeft = 60;
constexpr double kRight = 20;
constexpr double kTop = 40;
constexpr double kBottom = 50;
constexpr std::array<std::string_view, 4> kColours = {"#1b6ca8", "#c0392b", "#27864b", "#7d5ba6"};

// A round number that is at least `value`: 1, 2 or 5 times a power of ten.
double round_up(double value) {
  if (!(value > 0)) return 1;
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (value <= step * power) return step * power;
  }
  return 10 * power;
}

struct Axis {
  double least;
  double most;
  bool is_logarithmic;

  // 0 to 1.
  double place(double value) const {
    if (most <= least) return 0.5;
    if (is_logarithmic) return std::log(value / least) / std::log(most / least);
    return (value - least) / (most - least);
  }
};

std::string text_at(double x, double y, std::string_view anchor, const std::string& text,
                    std::string_view colour = "#333") {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="{}">{}</text>)"
                     "\n",
                     x, y, anchor, colour, text);
}

std::string panel_svg(const Panel& panel, double offset, const Axis& axis, const std::string& x_title,
                      const std::vector<double>& x) {
  double highest = 0;
  for (const Series& series : panel.series) {
    for (const double value : series.values) highest = std::max(highest, value);
  }
  const double top = round_up(highest);
  const double width = kPanel_width - kLeft - kRight;
  const double height = kPanel_height - kTop - kBottom;
  const auto x_at = [&](double value) { return offset + kLeft + axis.place(value) * width; };
  const auto y_at = [&](double value) { return kTop + (1 - value / top) * height; };
  std::string svg = text_at(offset + kLeft, 20, "start", panel.title);
  constexpr int kLines = 4;
  for (int i = 0; i <= kLines; ++i) {
    const double value = top * i / kLines;
    svg += fmt::format(R"(<path d="M{:.1f} {:.1f}h{:.1f}" stroke="#ddd"/>)"
                       "\n",
                       offset + kLeft, y_at(value), width);
    svg += text_at(offset + kLeft - 6, y_at(value) + 4, "end", fmt::format("{:g}", value));
  }
  for (const double value : x)
    svg += text_at(x_at(value), kTop + height + 16, "middle", fmt::format("{:g}", value));
  svg += text_at(offset + kLeft + width / 2, kPanel_height - 14, "middle", x_title);
  for (size_t i = 0; i < panel.series.size(); ++i) {
    const std::string_view colour = kColours[i % kColours.size()];
    std::string line;
    for (size_t k = 0; k < x.size(); ++k) {
      const double value = panel.series[i].values[k];
      if (value < 0) continue;
      line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? 'M' : 'L', x_at(x[k]), y_at(value));
      svg += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)"
                         "\n",
                         x_at(x[k]), y_at(value), colour);
    }
    if (line.empty()) continue;
    svg += fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="2"/>)"
                       "\n",
                       line, colour);
    svg += text_at(offset + kLeft + width - 60.0 * static_cast<double>(panel.series.size() - i - 1), 36,
                   "end", panel.series[i].name, colour);
  }
  return svg;
}

}  // namespace

std::string svg_of(const std::string& x_title, const std::vector<double>& x,
                   const std::vector<Panel>& panels) {
  const auto [least, most] = std::minmax_element(x.begin(), x.end());
  const Axis axis{*least, *most, *least > 0 && *most > 4 * *least};
  const double width = kPanel_width * static_cast<double>(panels.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, kPanel_height);
  for (size_t i = 0; i < panels.size(); ++i)
    svg += panel_svg(panels[i], kPanel_width * static_cast<double>(i), axis, x_title, x);
  return svg + "</svg>\n";
}

std::string svg_plot(const Settings& settings, const Report& report) {
  std::vector<double> x;
  Panel goodput{"goodput, full answers within the SLO per second", {}};
  Panel ttft{"p99 TTFT, ms", {}};
  for (const Point& point : report.points) x.push_back(settings.kind == LoadKind::kTrace ? 1 : point.value);
  for (size_t i = 0; i < kClass_count; ++i) {
    const auto service_class = static_cast<ServiceClass>(i);
    Series good{std::string(class_name(service_class)), {}};
    Series late = good;
    bool has_traffic = false;
    for (const Point& point : report.points) {
      const Tally& tally = point.result.tally;
      const ClassTally& row = tally.of(service_class);
      has_traffic = has_traffic || row.arrived != 0;
      const double window_s = tally.window_s();
      good.values.push_back(window_s > 0 ? static_cast<double>(row.good_in_window) / window_s : -1);
      const double p99_ms = static_cast<double>(row.ttft.percentile_ns(0.99)) / kMillisecond_ns;
      late.values.push_back(row.ttft.count() != 0 ? p99_ms : -1);
    }
    if (!has_traffic) continue;
    goodput.series.push_back(std::move(good));
    ttft.series.push_back(std::move(late));
  }
  Series all{"all", {}};
  for (const Point& point : report.points) all.values.push_back(point.result.tally.goodput_per_s());
  goodput.series.push_back(std::move(all));
  const std::string x_title = settings.kind == LoadKind::kLoads        ? "load, multiples of the capacity"
                              : settings.kind == LoadKind::kConcurrent ? "clients at once"
                              : settings.kind == LoadKind::kTrace      ? "trace"
                                                                       : "requests/s";
  return svg_of(x_title, x, {goodput, ttft});
}

}  // namespace deepserve::ctl::bench
