// A report for people (tables) and for programs (one JSON document). Pure.
#pragma once

#include <string>

#include "ctl/bench/experiment.h"
#include "ctl/terminal.h"

namespace deepserve::ctl::bench {

// Our own sends were late: from here on the figures say something about this program too.
inline constexpr uint64_t kLate_ns = 5'000'000;

// "2x", "40/s", "64 clients", "trace".
std::string point_name(const Settings& settings, const Point& point);

std::string report_tables(const Settings& settings, const Endpoint& endpoint, const Report& report,
                          const Terminal& terminal);

std::string report_json(const Settings& settings, const Endpoint& endpoint, const Report& report);

}  // namespace deepserve::ctl::bench
