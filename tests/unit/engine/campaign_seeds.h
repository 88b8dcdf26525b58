// How many seeds a random campaign runs through: `usual`, or what DEEPSERVE_SEEDS says (./check --full).
#pragma once

#include <cstdint>
#include <cstdlib>

namespace deepserve::runner::testing {

inline uint64_t campaign_seeds(uint64_t usual) {
  const char* wanted = std::getenv("DEEPSERVE_SEEDS");
  return wanted == nullptr ? usual : std::strtoull(wanted, nullptr, 10);
}

}  // namespace deepserve::runner::testing
