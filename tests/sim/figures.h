// The figures that admission is held to (issue: goodput, vip, honesty, fairness), each with its bar.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/simulation.h"
#include "tests/sim/tally.h"

namespace deepserve::sim {

struct FigureOptions {
  RunnerShape shape = kCpuShape;
  Mix mix = Mix::kVipFixed;
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  uint32_t seeds = 5;
  double seconds = 600;
  double capacity = 1;
  std::string_view policy = "deepserve";
};

struct Figure {
  std::string what;
  std::string value;
  std::string bar;
  bool passes = true;
};

// The usual demand at this load.
SimulationOptions usual_options(const FigureOptions& options, double load);
// Over all seeds.
Tally tally_of(SimulationOptions options, uint32_t seeds);

std::vector<Figure> figures(const FigureOptions& options);

}  // namespace deepserve::sim
