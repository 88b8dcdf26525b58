#include "ipc/lane/process_identity.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>

#include "ipc/base/clock.h"

namespace deepserve::ipc {

Result<ProcessIdentity> process_identity(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return fail(Code::kNotFound, "there is no process {}", pid);
  // Field 2 is the program's name in parentheses and may itself hold spaces and parentheses.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return fail(Code::kIo, "/proc/{}/stat has no program name", pid);
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  ProcessIdentity identity{.pid = static_cast<uint64_t>(pid)};
  if (!(fields >> identity.start_ticks)) return fail(Code::kIo, "/proc/{}/stat has no field 22", pid);
  return identity;
}

Result<std::vector<std::string>> command_line(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(std::move(word));
  if (words.empty()) return fail(Code::kNotFound, "there is no process {} with a command line", pid);
  return words;
}

uint64_t start_ns(const ProcessIdentity& process) {
  timespec boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  const uint64_t since_boot_ns =
      static_cast<uint64_t>(boot.tv_sec) * kSecond_ns + static_cast<uint64_t>(boot.tv_nsec);
  const uint64_t started_ns =
      process.start_ticks * (kSecond_ns / static_cast<uint64_t>(::sysconf(_SC_CLK_TCK)));
  const uint64_t age_ns = since_boot_ns - std::min(started_ns, since_boot_ns);
  const uint64_t now_ns = monotonic_ns();
  return now_ns - std::min(age_ns, now_ns);
}

Result<ProcessIdentity> own_identity() {
  static std::mutex mutex;
  static ProcessIdentity known;
  const std::lock_guard lock(mutex);
  const pid_t pid = ::getpid();  // another one after a fork
  if (known.pid != static_cast<uint64_t>(pid)) {
    TRY_ASSIGN(known, process_identity(pid));
  }
  return known;
}

}  // namespace deepserve::ipc
