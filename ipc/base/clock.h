// Time as nanoseconds of CLOCK_MONOTONIC, the same in every process of the host.
#pragma once

#include <cstdint>

namespace deepserve {

inline constexpr uint64_t kMicrosecond_ns = 1'000;
inline constexpr uint64_t kMillisecond_ns = 1'000'000;
inline constexpr uint64_t kSecond_ns = 1'000'000'000;

uint64_t monotonic_ns();

// Seconds since the Unix epoch, for the `created` fields of the API.
int64_t unix_seconds();

}  // namespace deepserve
