// A whole bench: a first request that shows that the server takes such ones, the search for its capacity
// where that is needed, and a run for each load point.
#pragma once

#include "ctl/bench/progress_line.h"
#include "ctl/bench/settings.h"

namespace deepserve::ctl::bench {

struct Probe {
  double rate_per_s = 0;
  double within_slo = 0;  // of those that arrived, up to where the probe was decided
  bool is_sustained = false;
};

struct Point {
  double value = 0;          // load, rate or clients, as LoadKind says; 0: a trace
  double offered_per_s = 0;  // as planned; 0: a closed loop
  double arrived_per_s = 0;  // as it came
  RunResult result;
};

struct Report {
  double first_e2e_s = 0;  // of the first request, alone on the server; 0: it was refused
  std::vector<Probe> probes;
  std::optional<double> capacity_per_s;  // given or found; 0: not even the lowest probe was sustained
  std::vector<Point> points;
  bool was_interrupted = false;  // what is there was measured; the last point may be short
};

// kUnreachable: nobody listens. The server's own error when it does not take such requests at all. What was
// measured before the server went away is not lost: the report then has fewer points and says so on stderr.
Result<Report> run_experiment(const Settings& settings, const Endpoint& endpoint, Poller& poller,
                              ProgressLine& progress);

}  // namespace deepserve::ctl::bench
