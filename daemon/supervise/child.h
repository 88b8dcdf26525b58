// One child process, started by our own code and known by its pidfd: no libuv, no shell, nothing left open.
// Or a process that an earlier dsd started: the same but for its exit status, which only a parent hears.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "daemon/supervise/gpu_environment.h"
#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/lane/process_identity.h"

namespace deepserve::daemon {

struct ChildStatus {
  bool known = true;    // false: it was not our child, nobody tells us how it ended
  bool exited = false;  // else: ended by `signal`
  int exit_status = 0;
  int signal = 0;
};

class Child {
 public:
  // Runs `arguments[0]` (a path) in a session of its own, stdin from /dev/null, stdout going where stderr
  // goes, signal mask and dispositions fresh, `inherited` dup'ed as (ours, its number there) and everything
  // else closed. Its environment is ours, without what speaks of dsd or chooses a GPU, and `environment`.
  // Its oom_score_adj is its own business: a runner raises it itself. Returns once the program runs; fails
  // with kIo when it cannot.
  static Result<Child> spawn(const std::vector<std::string>& arguments,
                             std::span<const std::pair<int, int>> inherited,
                             const Environment& environment = {});

  // The process that is this one and no later one of its number. kNotFound: it is gone.
  static Result<Child> adopt(const ipc::ProcessIdentity& process);

  pid_t pid() const { return pid_; }
  // Readable once the process has ended.
  int pidfd() const { return pidfd_.get(); }
  bool has_ended() const;
  // Nothing when it has ended already.
  void signal(int number) const;
  // SIGKILL to all that is left of its session's first group, which it leads. Before reap().
  void kill_group() const;
  // Takes the exit status, where we are its parent; the pidfd must be readable.
  ChildStatus reap();

 private:
  Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_;
  Fd pidfd_;
};

}  // namespace deepserve::daemon
