// Which NUMA nodes the process computes on, and its memory spread over them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace deepserve::runner {

// The nodes that `cores` belong to, ascending, by the links cpu<core>/node<N> that the kernel keeps under
// `directory`. A core without such a link belongs to none.
std::vector<uint32_t> memory_nodes(std::span<const uint32_t> cores,
                                   const std::filesystem::path& directory = "/sys/devices/system/cpu");

// Where the process may run on cores of several nodes, the pages that it and its later threads are given lie
// on all of these in turn: weights and KV cache are read by every thread, and so at all nodes' bandwidth
// together. With one node nothing changes. Failure is logged, no more.
void spread_memory_over_nodes();

}  // namespace deepserve::runner
