// Numbers and lists in the values of options, read strictly: "0.5,1,2", "vip=500ms". Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::ctl::bench {

// The pieces of `text` between separators; an empty text has one empty piece.
std::vector<std::string_view> split(std::string_view text, char separator);

// A finite decimal number above 0, all of `text`. kUsage names `what` and the text.
Result<double> positive_number(std::string_view what, std::string_view text);

// An integer from `least` to `most`, all of `text`.
Result<uint64_t> integer_between(std::string_view what, std::string_view text, uint64_t least, uint64_t most);

// "250ms", "1.5s", "2m"; above 0 and at most a day. In nanoseconds.
Result<uint64_t> duration_ns(std::string_view what, std::string_view text);

// Positive numbers with commas between, in the order given; at most 64.
Result<std::vector<double>> positive_numbers(std::string_view what, std::string_view text);

}  // namespace deepserve::ctl::bench
