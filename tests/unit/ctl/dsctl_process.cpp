#include "tests/unit/ctl/dsctl_process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::ctl {
namespace {

struct Pipe {
  Fd reader;
  Fd writer;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

int wait_for_exit(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// In the child: becomes the program. Its environment is ours without what would change the results.
[[noreturn]] void become(const std::string& binary, const std::vector<std::string>& arguments) {
  ::unsetenv("NO_COLOR");
  ::unsetenv("DEEPSERVE_RUNTIME_DIR");
  ::setenv("TERM", "xterm", 1);
  ::signal(SIGPIPE, SIG_DFL);
  std::vector<std::string> words = {binary};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(binary.c_str(), pointers.data());
  ::_exit(127);
}

void write_all(const Fd& fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t size = ::write(fd.get(), text.data() + done, text.size() - done);
    if (size <= 0) return;
    done += static_cast<size_t>(size);
  }
}

// Reads both pipes to their ends.
void read_both(const Fd& out_fd, const Fd& err_fd, Outcome& outcome) {
  std::array<pollfd, 2> watched = {{{out_fd.get(), POLLIN, 0}, {err_fd.get(), POLLIN, 0}}};
  std::array<std::string*, 2> texts = {&outcome.out, &outcome.err};
  std::array<char, 4096> buffer;
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    CHECK(::poll(watched.data(), watched.size(), -1) >= 0 || errno == EINTR);
    for (size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].fd < 0 || watched[i].revents == 0) continue;
      const ssize_t size = ::read(watched[i].fd, buffer.data(), buffer.size());
      if (size > 0) {
        texts[i]->append(buffer.data(), static_cast<size_t>(size));
      } else {
        watched[i].fd = -1;
      }
    }
  }
}

Outcome run_with(const std::string& binary, const std::vector<std::string>& arguments,
                 const std::string& input, bool has_reader) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    out.reader.reset();
    ::dup2(in.reader.get(), STDIN_FILENO);
    ::dup2(out.writer.get(), STDOUT_FILENO);
    ::dup2(err.writer.get(), STDERR_FILENO);
    become(binary, arguments);
  }
  in.reader.reset();
  out.writer.reset();
  err.writer.reset();
  Outcome outcome;
  if (!has_reader) out.reader.reset();
  write_all(in.writer, input);
  in.writer.reset();
  read_both(out.reader, err.reader, outcome);
  outcome.exit_code = wait_for_exit(pid);
  return outcome;
}

}  // namespace

Outcome run_binary(const std::string& binary, const std::vector<std::string>& arguments,
                   const std::string& input) {
  return run_with(binary, arguments, input, true);
}

Outcome run_dsctl(const std::vector<std::string>& arguments, const std::string& input) {
  return run_with(DSCTL_BINARY, arguments, input, true);
}

Outcome run_dsctl_without_reader(const std::vector<std::string>& arguments) {
  return run_with(DSCTL_BINARY, arguments, "", false);
}

TerminalDsctl::TerminalDsctl(const std::vector<std::string>& arguments) {
  const winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  pid_ = ::forkpty(&terminal, nullptr, nullptr, &size);
  CHECK(pid_ >= 0);
  if (pid_ == 0) become(DSCTL_BINARY, arguments);
  terminal_.reset(terminal);
}

TerminalDsctl::~TerminalDsctl() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  wait_for_exit(pid_);
}

void TerminalDsctl::type(const std::string& keys) {
  write_all(terminal_, keys);
}

bool TerminalDsctl::wait_for(const std::string& text) {
  for (;;) {
    const size_t at = screen_.find(text, seen_);
    if (at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    if (!read_more()) return false;
  }
}

int TerminalDsctl::wait_for_end() {
  while (read_more()) {
  }
  if (!ended_) ::kill(pid_, SIGKILL);
  return wait_for_exit(std::exchange(pid_, -1));
}

bool TerminalDsctl::read_more() {
  pollfd watched{terminal_.get(), POLLIN, 0};
  constexpr int kPatience_ms = 30'000;
  if (::poll(&watched, 1, kPatience_ms) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t size = ::read(terminal_.get(), buffer.data(), buffer.size());
  if (size <= 0) {
    ended_ = true;  // EIO: nobody has the other end any more
    return false;
  }
  screen_.append(buffer.data(), static_cast<size_t>(size));
  return true;
}

}  // namespace deepserve::ctl
