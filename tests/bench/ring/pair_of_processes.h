// Two forked processes on a core each that start together: what every figure of ring_bench is measured with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "ipc/lane/ring.h"

namespace deepserve::bench {

// Cores this process may use; the two halves of a pair need two of them.
int usable_cores();

// Forks a child that runs `in_child` on one core while this process runs `in_parent` on another. Returns the
// seconds from the moment both were ready to the end of `in_parent`. Aborts when the child fails.
double run_pair(const std::function<void()>& in_child, const std::function<void()>& in_parent);

// Zeroed memory that a forked child shares.
std::shared_ptr<std::byte> shared_memory(size_t bytes);

using ipc::relax_processor;

}  // namespace deepserve::bench
