// Durations and sizes as people write them in the configuration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::daemon {

// "500ms", "60s", "10m", "2h", "1.5s": nanoseconds. A number without a unit is refused: nobody knows what it
// means.
Result<uint64_t> parse_duration_ns(std::string_view text);

// "8GiB", "512MiB", "4096KiB", "1GB" (10^9), "100B": bytes.
Result<uint64_t> parse_size_bytes(std::string_view text);

// The shortest text that parses back to the same value.
std::string duration_text(uint64_t duration_ns);
std::string size_text(uint64_t bytes);

}  // namespace deepserve::daemon
