#include "daemon/config/cpuset.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

namespace deepserve::daemon {
namespace {

constexpr uint32_t kCpusMax = 8192;

std::optional<std::vector<uint32_t>> read_cpu_list(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  auto cpus = parse_cpu_list(line);
  if (!cpus || cpus->empty()) return std::nullopt;
  return std::move(*cpus);
}

// The path of our cgroup in the hierarchy that has `controller` ("" is the unified one), from
// /proc/self/cgroup.
std::string cgroup_path(std::string_view controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    if (controller.empty() && second == first + 1) return line.substr(second + 1);
    for (std::string name; std::getline(names, name, ',');) {
      if (name == controller) return line.substr(second + 1);
    }
  }
  return "/";
}

}  // namespace

Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text) {
  std::vector<uint32_t> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    uint32_t first = 0;
    auto parsed = std::from_chars(at, end, first);
    uint32_t last = first;
    if (parsed.ec == std::errc{} && parsed.ptr != end && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, end, last);
    }
    const bool separated = parsed.ptr == end || *parsed.ptr == ',';
    if (parsed.ec != std::errc{} || !separated || last < first || last >= kCpusMax) {
      return fail(Code::kInvalidConfig, "'{}' is no list of cpus", text);
    }
    for (uint32_t cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    at = parsed.ptr == end ? end : parsed.ptr + 1;
  }
  std::sort(cpus.begin(), cpus.end());
  return cpus;
}

std::vector<uint32_t> host_cpuset() {
  const std::string unified = cgroup_path("");
  const std::string v1 = cgroup_path("cpuset");
  for (const auto& path :
       {"/sys/fs/cgroup" + unified + "/cpuset.cpus.effective",
        std::string("/sys/fs/cgroup/cpuset.cpus.effective"),
        "/sys/fs/cgroup/cpuset" + v1 + "/cpuset.effective_cpus",
        "/sys/fs/cgroup/cpuset" + v1 + "/cpuset.cpus", std::string("/sys/devices/system/cpu/online")}) {
    if (auto cpus = read_cpu_list(path)) return std::move(*cpus);
  }
  std::vector<uint32_t> cpus(std::max(1u, std::thread::hardware_concurrency()));
  for (uint32_t i = 0; i < cpus.size(); ++i) cpus[i] = i;
  return cpus;
}

}  // namespace deepserve::daemon
