// What a device of its own memory can do at the most, measured.
#pragma once

#include <cstdint>

namespace deepserve::runner {

struct DeviceLimits {
  uint64_t buffer_bytes = 0;                // over which copies went
  double copy_bytes_per_second = 0;         // from the device to itself, bytes read plus bytes written
  double matmul_operations_per_second = 0;  // a large product of bf16 on random numbers; 0: no library for it
};

}  // namespace deepserve::runner
