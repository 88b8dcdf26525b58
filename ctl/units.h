// Figures as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace deepserve::ctl {

// "7.2 MiB", "812 B".
std::string human_bytes(uint64_t bytes);

// "0.4 s", "12 s", "3 min 5 s", "2 h 7 min", "4 d 3 h".
std::string human_duration(double duration_s);

// "1,234,567".
std::string human_count(uint64_t count);

}  // namespace deepserve::ctl
