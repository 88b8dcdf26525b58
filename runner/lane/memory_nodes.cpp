#include "runner/lane/memory_nodes.h"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <system_error>

namespace deepserve::runner {
namespace {

constexpr std::string_view kPrefix = "node";
constexpr uint32_t kNodesMax = 1024;
constexpr int kInterleave = 3;  // MPOL_INTERLEAVE of linux/mempolicy.h, which libnuma would bring along
constexpr size_t kMaskBits = 8 * sizeof(unsigned long);

}  // namespace

std::vector<uint32_t> memory_nodes(std::span<const uint32_t> cores, const std::filesystem::path& directory) {
  std::vector<uint32_t> nodes;
  for (const uint32_t core : cores) {
    std::error_code error;
    std::filesystem::directory_iterator entry(directory / ("cpu" + std::to_string(core)), error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (!name.starts_with(kPrefix)) continue;
      uint32_t node = 0;
      const char* end = name.data() + name.size();
      const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, node);
      if (parsed.ec == std::errc() && parsed.ptr == end && node < kNodesMax) nodes.push_back(node);
    }
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

void spread_memory_over_nodes() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
  std::vector<uint32_t> cores;
  for (uint32_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &usable)) cores.push_back(core);
  }
  const auto nodes = memory_nodes(cores);
  if (nodes.size() < 2) return;
  std::array<unsigned long, kNodesMax / kMaskBits> mask = {};
  for (const uint32_t node : nodes) mask[node / kMaskBits] |= 1ul << node % kMaskBits;
  // One more than the bits of the mask: the kernel takes the last one away.
  if (syscall(SYS_set_mempolicy, kInterleave, mask.data(), kNodesMax + 1) != 0) {
    spdlog::warn("memory is not spread over {} NUMA nodes: {}", nodes.size(), std::strerror(errno));
    return;
  }
  spdlog::info("memory is spread over {} NUMA nodes", nodes.size());
}

}  // namespace deepserve::runner
