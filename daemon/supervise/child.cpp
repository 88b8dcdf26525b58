#include "daemon/supervise/child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ipc/base/check.h"

extern char** environ;

namespace deepserve::daemon {
namespace {

constexpr int kFdsKept = 64;  // sources are moved at or above this before they are put at their numbers
constexpr unsigned kCloseRangeCloexec = 1u << 2;

// Everything that the child needs, made before the fork: between fork and exec nothing may allocate.
struct Plan {
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::pair<int, int>> fds;
  int null_fd = -1;
  int error_fd = -1;
};

[[noreturn]] void child_fail(const Plan& plan) {
  const int error = errno;
  (void)!::write(plan.error_fd, &error, sizeof error);
  ::_exit(127);
}

// Async-signal-safe from here to exec.
[[noreturn]] void run_child(const Plan& plan) {
  for (int number = 1; number < NSIG; ++number) {
    if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
  }
  ::setsid();
  int highest = STDERR_FILENO;
  if (::dup2(plan.null_fd, STDIN_FILENO) < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) child_fail(plan);
  for (const auto& [ours, theirs] : plan.fds) {
    if (::dup2(ours, theirs) < 0) child_fail(plan);
    if (theirs > highest) highest = theirs;
  }
  // Ours are close-on-exec already; this is for those that a library may have opened otherwise.
  ::syscall(SYS_close_range, static_cast<unsigned>(highest + 1), ~0u, kCloseRangeCloexec);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.argv[0], plan.argv.data(), plan.envp.data());
  child_fail(plan);
}

// A fork that gives a pidfd. In the child: 0.
pid_t fork_with_pidfd(int* pidfd) {
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(pidfd);
  arguments.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid >= 0 || (errno != ENOSYS && errno != EPERM)) return pid;
  const pid_t forked = ::fork();
  if (forked > 0) *pidfd = static_cast<int>(::syscall(SYS_pidfd_open, forked, 0));
  return forked;
}

// Variables that speak of dsd itself and would mislead a child.
bool is_ours(std::string_view variable) {
  for (const std::string_view name : {"NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "LISTEN_PID=",
                                      "LISTEN_FDS=", "LISTEN_FDNAMES="}) {
    if (variable.starts_with(name)) return true;
  }
  return false;
}

}  // namespace

Result<Child> Child::spawn(const std::vector<std::string>& arguments,
                           std::span<const std::pair<int, int>> inherited) {
  CHECK(!arguments.empty());
  Plan plan;
  for (const auto& argument : arguments) plan.argv.push_back(const_cast<char*>(argument.c_str()));
  plan.argv.push_back(nullptr);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!is_ours(*variable)) plan.envp.push_back(*variable);
  }
  plan.envp.push_back(nullptr);

  std::vector<Fd> moved;
  for (const auto& [ours, theirs] : inherited) {
    moved.emplace_back(::fcntl(ours, F_DUPFD_CLOEXEC, kFdsKept));
    if (!moved.back()) return fail_errno("cannot duplicate a descriptor for a runner");
    plan.fds.emplace_back(moved.back().get(), theirs);
  }
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return fail_errno("cannot open /dev/null");
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return fail_errno("cannot make a pipe");
  const Fd error_read(pipe_ends[0]);
  Fd error_low(pipe_ends[1]);
  Fd error_write(::fcntl(error_low.get(), F_DUPFD_CLOEXEC, kFdsKept));
  if (!error_write) return fail_errno("cannot duplicate a pipe");
  plan.null_fd = null.get();
  plan.error_fd = error_write.get();

  // No handler of ours may run in the child: libuv's would write into our own pipe.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  const pid_t pid = fork_with_pidfd(&pidfd);
  if (pid == 0) run_child(plan);
  const int fork_errno = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    errno = fork_errno;
    return fail_errno("cannot fork");
  }
  Child child(pid, Fd(pidfd));
  if (!child.pidfd_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail(Code::kIo, "this kernel gives no pidfd");
  }
  ::fcntl(child.pidfd_.get(), F_SETFD, FD_CLOEXEC);
  error_write.reset();
  error_low.reset();
  int exec_errno = 0;
  ssize_t got;
  do got = ::read(error_read.get(), &exec_errno, sizeof exec_errno);
  while (got < 0 && errno == EINTR);
  if (got == sizeof exec_errno) {
    child.reap();
    return fail(Code::kIo, "cannot run '{}': {}", arguments[0], std::strerror(exec_errno));
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
