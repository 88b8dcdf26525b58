// A recorded load: one JSON object a line with at_ms, class, prompt_tokens and max_tokens. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "ctl/bench/class_mix.h"

namespace deepserve::ctl::bench {

struct TraceRow {
  uint64_t at_ns = 0;  // from the start
  ServiceClass service_class = ServiceClass::kNormal;
  uint32_t prompt_tokens = 1;
  uint32_t max_tokens = 1;
};

// The rows of a file's text, by their time; rows of one instant stay in the file's order. Empty lines are
// passed over. at_ms (0 to a day, fractions allowed), prompt_tokens and max_tokens are required, class is
// "normal" unless named, and nothing else may stand there. kUsage names the file and the line.
Result<std::vector<TraceRow>> parse_trace(std::string_view file, std::string_view text);

}  // namespace deepserve::ctl::bench
