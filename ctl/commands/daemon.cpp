#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <filesystem>

#include "ctl/commands.h"
#include "ctl/progress.h"
#include "ctl/show.h"
#include "ipc/base/fd.h"

namespace deepserve::ctl {

namespace json = boost::json;

namespace {

// Until the process is gone; at once if it is, or is none that we can see.
void wait_for_end(pid_t pid) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return;
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<void> reexec_daemon(Session& session, const std::string& binary) {
  json::object body;
  if (!binary.empty()) {
    std::error_code error;
    body["binary"] = std::filesystem::absolute(binary, error).string();
  }
  const auto render = [](const json::value& answer) {
    return fmt::format("dsd {} serves as pid {} in the place of dsd {}\n",
                       visible_line(text_of(answer, "version")), visible_line(text_of(answer, "pid")),
                       visible_line(text_of(answer, "version_before")));
  };
  return ask_and_show(session,
                      {.method = "POST", .path = "/ctl/daemon/reexec", .body = json::serialize(body)}, render,
                      "upgrading the daemon");
}

Result<void> stop_daemon(Session& session) {
  TRY_ASSIGN(const auto body,
             session.control({.method = "POST", .path = "/ctl/daemon/stop"}, "stopping the daemon"));
  boost::system::error_code problem;
  const auto answer = json::parse(body, problem);
  const std::string pid = problem ? std::string() : text_of(answer, "pid");
  if (pid.empty()) return fail(Code::kInternal, "the daemon's answer names no pid");
  {
    const Progress progress(session.terminal(), "waiting for running requests to end");
    wait_for_end(static_cast<pid_t>(std::atoi(pid.c_str())));
  }
  if (session.options().json) return print_json(session, body);
  return session.out().write(fmt::format("dsd (pid {}) has ended\n", visible_line(pid)));
}

}  // namespace deepserve::ctl
