// Policies over loads: the table that is printed, and the same as CSV and as charts.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/figures.h"
#include "tests/sim/svg_chart.h"
#include "tests/sim/tally.h"

namespace deepserve::sim {

struct SweepPoint {
  std::string policy;
  double load = 0;
  Tally tally;
};

std::vector<SweepPoint> sweep(const FigureOptions& options, const std::vector<std::string>& policies,
                              const std::vector<double>& loads);

// These put the tallies' samples in order as they read them.
std::string table_of(std::vector<SweepPoint>& points);
// One row for each point and class: policy, load, class, asks, outcomes, refusals by reason, TTFT and pace.
std::string csv_of(std::vector<SweepPoint>& points);
struct NamedChart {
  std::string file;  // without its ending
  Chart chart;
};
std::vector<NamedChart> charts_of(std::vector<SweepPoint>& points);

}  // namespace deepserve::sim
