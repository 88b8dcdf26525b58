#include "daemon/supervise/oom_count.h"

#include <fstream>
#include <optional>
#include <string>

namespace deepserve::daemon {
namespace {

std::optional<uint64_t> read_count(const std::string& path) {
  std::ifstream file(path);
  for (std::string name; file >> name;) {
    uint64_t value = 0;
    if (!(file >> value)) file.clear();
    if (name == "oom_kill") return value;
  }
  return std::nullopt;
}

// The memory cgroup's directory, from /proc/self/cgroup: "0::/path" (v2) or "4:memory:/path" (v1).
std::optional<std::string> cgroup_file() {
  std::ifstream file("/proc/self/cgroup");
  std::optional<std::string> found;
  for (std::string line; std::getline(file, line);) {
    const size_t memory = line.find(":memory:");
    if (memory != std::string::npos)
      return "/sys/fs/cgroup/memory" + line.substr(memory + 8) + "/memory.oom_control";
    if (line.starts_with("0::")) found = "/sys/fs/cgroup" + line.substr(3) + "/memory.events";
  }
  return found;
}

}  // namespace

uint64_t oom_kill_count() {
  if (const auto path = cgroup_file()) {
    if (const auto count = read_count(*path)) return *count;
  }
  return read_count("/proc/vmstat").value_or(0);
}

}  // namespace deepserve::daemon
