// What a bench's figures are held to: the project's own bars for a server under load. Pure.
//
// A bar is judged where the bench has what it takes: goodput against the point with a load of 1, vips' TTFT
// against a point in which only vips came (`--fixed vip` and a load of their share), fairness where several
// clients were backlogged (tally.h says of what and when). A step's length is seen from outside, as the time
// between two tokens of a vip's answer: the median of it counts as one.
#pragma once

#include <string>
#include <vector>

#include "ctl/bench/experiment.h"

namespace deepserve::ctl::bench {

struct Bar {
  std::string point;  // "10x"
  std::string what;   // with the unit
  double value = 0;
  double bound = 0;
  bool is_least = false;  // the value is to be at least `bound`, else at most

  bool passes() const { return is_least ? value >= bound : value <= bound; }
};

std::vector<Bar> bars_of(const Settings& settings, const Report& report);

}  // namespace deepserve::ctl::bench
