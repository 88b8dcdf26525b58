#include "daemon/upgrade/roll_back.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "ipc/base/check.h"

extern char** environ;

namespace deepserve::daemon {
namespace {

constexpr std::string_view kTakeOverOption = "--take-over";
constexpr std::string_view kRolledBackOption = "--rolled-back";
constexpr int kFatalSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kReasonBytes = 512;

// What a signal handler needs, made before there is one.
struct Way {
  bool armed = false;
  int old_program = -1;
  int state = -1;
  std::vector<std::string> arguments;
  std::vector<char*> argv;
  std::vector<int> descriptors;
  char reason[kReasonBytes] = {};  // argv points to it
};

Way way;
alignas(16) char signal_stack[kStackBytes];

sigset_t blockable() {
  sigset_t all;
  sigfillset(&all);
  for (const int number : kFatalSignals) sigdelset(&all, number);
  sigdelset(&all, SIGALRM);
  return all;
}

std::vector<char*> argv_of(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

void execute(int program, char* const* argv) {
  ::syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
}

void set_close_on_exec(std::span<const int> descriptors, bool closes) {
  for (const int fd : descriptors) ::fcntl(fd, F_SETFD, closes ? FD_CLOEXEC : 0);
}

// Async-signal-safe.
void go_back() {
  way.armed = false;
  set_close_on_exec(way.descriptors, false);
  ::fcntl(way.state, F_SETFD, 0);
  const sigset_t waiting = blockable();
  ::sigprocmask(SIG_SETMASK, &waiting, nullptr);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(kTakeOverLimit_s);
  execute(way.old_program, way.argv.data());
}

void on_fatal_signal(int number) {
  if (way.armed) {
    const char* what = number == SIGALRM ? "it was not ready in time" : "it ended by signal 00";
    std::strncpy(way.reason, what, kReasonBytes - 1);
    if (number != SIGALRM) {
      char* digits = way.reason + std::strlen(what) - 2;
      digits[0] = static_cast<char>('0' + number / 10 % 10);
      digits[1] = static_cast<char>('0' + number % 10);
    }
    go_back();
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

void on_exit() {
  roll_back::now("it ended before it was ready");
}

void handle(std::span<const int> signals, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (const int number : signals) ::sigaction(number, &action, nullptr);
}

std::optional<int> number_in(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<TakeOver> take_over_argument(std::vector<std::string>& arguments) {
  TakeOver take_over;
  const auto take_last = [&arguments](std::string_view option) -> std::optional<std::string> {
    if (arguments.size() < 3 || arguments[arguments.size() - 2] != option) return std::nullopt;
    std::string value = std::move(arguments.back());
    arguments.resize(arguments.size() - 2);
    return value;
  };
  if (auto reason = take_last(kRolledBackOption)) take_over.rolled_back = std::move(*reason);
  const auto descriptors = take_last(kTakeOverOption);
  if (!descriptors) return std::nullopt;
  const size_t colon = descriptors->find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto state = number_in(std::string_view(*descriptors).substr(0, colon));
  const auto old_program = number_in(std::string_view(*descriptors).substr(colon + 1));
  if (!state || *state < 3 || !old_program) return std::nullopt;
  take_over.state_fd = *state;
  take_over.old_program_fd = *old_program;
  return take_over;
}

void add_take_over(std::vector<std::string>& arguments, const TakeOver& take_over) {
  arguments.emplace_back(kTakeOverOption);
  arguments.push_back(fmt::format("{}:{}", take_over.state_fd, take_over.old_program_fd));
  if (take_over.rolled_back.empty()) return;
  arguments.emplace_back(kRolledBackOption);
  arguments.push_back(take_over.rolled_back);
}

void block_signals() {
  const sigset_t waiting = blockable();
  ::pthread_sigmask(SIG_SETMASK, &waiting, nullptr);
}

void unblock_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

namespace roll_back {

void arm(const TakeOver& take_over, const std::vector<std::string>& arguments) {
  block_signals();
  way.state = take_over.state_fd;
  way.old_program = take_over.old_program_fd;
  if (way.old_program < 0) return;
  way.arguments = arguments;
  add_take_over(way.arguments, {.state_fd = take_over.state_fd});
  way.arguments.emplace_back(kRolledBackOption);
  way.argv = argv_of(way.arguments);
  way.argv.insert(way.argv.end() - 1, way.reason);
  way.armed = true;
  const stack_t stack{.ss_sp = signal_stack, .ss_flags = 0, .ss_size = sizeof signal_stack};
  ::sigaltstack(&stack, nullptr);
  handle(kFatalSignals, on_fatal_signal);
  handle(std::array{SIGALRM}, on_fatal_signal);
  std::atexit(on_exit);
}

void remember(std::span<const int> descriptors) {
  way.descriptors.assign(descriptors.begin(), descriptors.end());
}

void now(std::string_view reason) {
  if (!way.armed) return;
  way.reason[reason.copy(way.reason, kReasonBytes - 1)] = '\0';
  go_back();
  std::_Exit(1);
}

void disarm() {
  ::alarm(0);
  if (std::exchange(way.armed, false)) {
    handle(kFatalSignals, SIG_DFL);
    ::close(way.old_program);
  }
  ::signal(SIGALRM, SIG_DFL);
  set_close_on_exec(way.descriptors, true);
  if (way.state >= 0) ::close(std::exchange(way.state, -1));
  way.descriptors.clear();
  unblock_signals();
}

}  // namespace roll_back

Error become(int program, const std::vector<std::string>& arguments, std::span<const int> descriptors) {
  const auto argv = argv_of(arguments);
  block_signals();
  set_close_on_exec(descriptors, false);
  ::alarm(kTakeOverLimit_s);
  execute(program, argv.data());
  const int problem = errno;
  ::alarm(0);
  set_close_on_exec(descriptors, true);
  unblock_signals();
  return {Code::kConflict, fmt::format("it cannot be run: {}", std::strerror(problem))};
}

}  // namespace deepserve::daemon
