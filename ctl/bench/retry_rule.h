// What a client does after a refusal. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::ctl::bench {

enum class Retries {
  kObey,    // come back exactly when the server said, with its ticket; with no instant said: never
  kIgnore,  // come back after kImpatience_ns whatever it said, without a ticket
  kNone,    // never
};

// "obey", "ignore" or "none"; else kUsage.
Result<Retries> retries_named(std::string_view name);

inline constexpr uint64_t kImpatience_ns = 200'000'000;  // of those who ignore, doubled with each try

// How long after refusal number `refusals` (from 1) the next try is made; nothing: no more tries.
std::optional<uint64_t> retry_wait_ns(Retries rule, unsigned refusals, unsigned tries_max,
                                      std::optional<uint64_t> retry_after_ms);

}  // namespace deepserve::ctl::bench
