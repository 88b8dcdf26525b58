#include "daemon/supervise/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ipc/base/check.h"

extern char** environ;

namespace deepserve::daemon {
namespace {

constexpr int kFdsKept = 64;  // sources are moved at or above this before they are put at their numbers

// Variables that speak of dsd itself, or of all GPUs, and would mislead a child.
bool is_ours(std::string_view variable) {
  for (const std::string_view name : {"NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "LISTEN_PID=",
                                      "LISTEN_FDS=", "LISTEN_FDNAMES="}) {
    if (variable.starts_with(name)) return true;
  }
  return is_gpu_variable(variable.substr(0, variable.find('=')));
}

// posix_spawn's two descriptions, which have to be given back.
struct SpawnPlan {
  SpawnPlan() {
    CHECK(::posix_spawn_file_actions_init(&actions) == 0);
    CHECK(::posix_spawnattr_init(&attributes) == 0);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// False: there is no memory.
bool plan_descriptors(SpawnPlan& plan, std::span<const std::pair<int, int>> moved) {
  auto* actions = &plan.actions;
  int highest = STDERR_FILENO;
  bool ok = ::posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0 &&
            ::posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO) == 0;
  for (const auto& [ours, theirs] : moved) {
    ok = ok && ::posix_spawn_file_actions_adddup2(actions, ours, theirs) == 0;
    highest = std::max(highest, theirs);
  }
  // Ours are close-on-exec already; this is for those that a library may have opened otherwise.
  return ok && ::posix_spawn_file_actions_addclosefrom_np(actions, highest + 1) == 0;
}

void plan_session_and_signals(SpawnPlan& plan) {
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &all);
  ::posix_spawnattr_setsigmask(&plan.attributes, &none);
  ::posix_spawnattr_setflags(&plan.attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

}  // namespace

Result<Child> Child::spawn(const std::vector<std::string>& arguments,
                           std::span<const std::pair<int, int>> inherited, const Environment& environment) {
  CHECK(!arguments.empty());
  std::vector<char*> argv, envp;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!is_ours(*variable)) envp.push_back(*variable);
  }
  std::vector<std::string> own;
  for (const auto& [name, value] : environment) own.push_back(fmt::format("{}={}", name, value));
  for (auto& variable : own) envp.push_back(variable.data());
  envp.push_back(nullptr);

  std::vector<Fd> sources;
  std::vector<std::pair<int, int>> moved;
  for (const auto& [ours, theirs] : inherited) {
    sources.emplace_back(::fcntl(ours, F_DUPFD_CLOEXEC, kFdsKept));
    if (!sources.back()) return fail_errno("cannot duplicate a descriptor for a runner");
    moved.emplace_back(sources.back().get(), theirs);
  }
  SpawnPlan plan;
  if (!plan_descriptors(plan, moved)) return fail(Code::kIo, "no memory to start a process");
  plan_session_and_signals(plan);
  // It borrows our memory until it runs: nothing of ours is copied for it.
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, argv[0], &plan.actions, &plan.attributes, argv.data(), envp.data());
  if (error != 0) return fail(Code::kIo, "cannot run '{}': {}", arguments[0], std::strerror(error));
  Child child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (!child.pidfd_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail(Code::kIo, "this kernel gives no pidfd");
  }
  return child;
}

Result<Child> Child::adopt(const ipc::ProcessIdentity& process) {
  const auto pid = static_cast<pid_t>(process.pid);
  Child child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (!child.pidfd_) return fail(Code::kNotFound, "there is no process {}", process.pid);
  // Only now does the number stay what it is.
  TRY_ASSIGN(const auto now, ipc::process_identity(pid));
  if (child.has_ended()) child.reap();  // where it is ours, nobody else would
  if (now != process || child.has_ended())
    return fail(Code::kNotFound, "process {} is not the one that it was", process.pid);
  return child;
}

bool Child::has_ended() const {
  pollfd entry{pidfd_.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0;
}

void Child::signal(int number) const {
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

void Child::kill_group() const {
  // Its number is nobody else's as long as a process of the group is there, or it is not reaped.
  ::kill(-pid_, SIGKILL);
}

ChildStatus Child::reap() {
  constexpr auto kPidfdId = static_cast<idtype_t>(3);  // P_PIDFD
  siginfo_t info{};
  int result;
  do result = ::waitid(kPidfdId, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
  while (result != 0 && errno == EINTR);
  ChildStatus status;
  status.known = result == 0;
  if (!status.known) return status;
  status.exited = info.si_code == CLD_EXITED;
  (status.exited ? status.exit_status : status.signal) = info.si_status;
  return status;
}

}  // namespace deepserve::daemon
