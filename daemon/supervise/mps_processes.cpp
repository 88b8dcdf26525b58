#include "daemon/supervise/mps_processes.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "daemon/supervise/child.h"

namespace deepserve::daemon {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kControl = "nvidia-cuda-mps-control";
constexpr std::string_view kInForeground = "-f";

// What a process was started with; nothing where that cannot be read: another user's, or gone.
std::map<std::string, std::string> environment_of(const fs::path& process) {
  std::map<std::string, std::string> environment;
  std::ifstream file(process / "environ");
  for (std::string variable; std::getline(file, variable, '\0');) {
    const size_t name_bytes = variable.find('=');
    if (name_bytes != std::string::npos)
      environment.emplace(variable.substr(0, name_bytes), variable.substr(name_bytes + 1));
  }
  return environment;
}

// Not its servers, and not who only speaks with it. A script's interpreter comes before its name.
bool is_control_daemon(const std::vector<std::string>& words) {
  const bool is_control = std::any_of(words.begin(), words.end(),
                                      [](const auto& word) { return fs::path(word).filename() == kControl; });
  return is_control && std::find(words.begin(), words.end(), kInForeground) != words.end();
}

}  // namespace

std::string find_mps_control() {
  const char* path = std::getenv("PATH");
  std::stringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string program = fmt::format("{}/{}", directory, kControl);
    if (directory.starts_with('/') && ::access(program.c_str(), X_OK) == 0) return program;
  }
  return {};
}

std::vector<LeftMps> find_left_mps(const std::string& directory) {
  std::vector<LeftMps> left;
  std::error_code error;
  if (!fs::exists(directory, error)) return left;  // none was ever started
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    pid_t pid = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (read.ec != std::errc() || read.ptr != name.data() + name.size()) continue;
    auto environment = environment_of(entry->path());
    const fs::path pipe = environment["CUDA_MPS_PIPE_DIRECTORY"];
    if (pipe.filename() != "pipe" || pipe.parent_path().parent_path() != directory) continue;
    const auto words = ipc::command_line(pid);
    const auto process = ipc::process_identity(pid);
    if (words && process && is_control_daemon(*words) && ::getsid(pid) == pid)  // no child of one
      left.push_back({pipe.parent_path().filename(), environment["CUDA_VISIBLE_DEVICES"], *process});
  }
  return left;
}

void end_left_mps(const std::string& directory) {
  constexpr int kPatience_ms = 2'000;
  for (const auto& left : find_left_mps(directory)) {
    auto child = Child::adopt(left.process);
    if (!child) continue;
    spdlog::info("ending the MPS daemon of GPU {} that is left, pid {}", left.gpu, child->pid());
    child->signal(SIGTERM);
    pollfd ended{child->pidfd(), POLLIN, 0};
    if (::poll(&ended, 1, kPatience_ms) != 1) child->signal(SIGKILL);
    child->kill_group();
    if (::poll(&ended, 1, kPatience_ms) != 1) spdlog::error("pid {} does not end", child->pid());
  }
  std::error_code error;
  fs::remove_all(directory, error);
}

}  // namespace deepserve::daemon
