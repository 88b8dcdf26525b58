// Runners of an earlier dsd, found by their rendezvous (ipc/lane/rendezvous.h): each is a socket file in one
// directory, named after its process. Whoever answers is offered to the owner; whoever is dead leaves only a
// file, which goes; whoever lives and does not answer within the limit is hung, and ended.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/loop.h"
#include "daemon/supervise/child.h"
#include "ipc/lane/rendezvous.h"

namespace deepserve::daemon {

// One that answered: it waits for a lane, or for its end.
struct RunnerCandidate {
  std::string path;  // of its rendezvous
  Child process;
  Fd connection;
  ipc::RunnerHello hello;
  Fd group;  // the memory of its ranks; none for one process
};

// "<pid>-<start time>.sock": no later process of the same number is taken for it.
std::string rendezvous_name(const ipc::ProcessIdentity& process);

// Ends the runners whose sockets lie in `directory`, all of them, and removes what lies there; returns once
// they are gone. For when no next dsd will come.
void end_runners(const std::string& directory);

class Adoption {
 public:
  // Everything is called from the loop: `found` for each that answers, then `done` once.
  Adoption(Loop& loop, const std::string& directory, uint64_t limit_ns,
           std::function<void(RunnerCandidate)> found, std::function<void()> done);

  bool over() const { return over_; }
  // Kills a runner that nobody wants, removes the file of its rendezvous, and takes its status where we are
  // its parent (after an upgrade in place).
  void end(Child process, const std::string& path, std::string_view why);
  // dsd ends: so do those that have not answered yet. Nothing is called any more.
  void end_all();

 private:
  struct Pending {
    std::string path;
    Child process;
    Fd connection;
    std::unique_ptr<Poll> poll;
  };
  void look_at(const std::string& path, const std::string& name);
  void hear(Pending& pending);
  void forget_ended();
  void finish_when_heard();

  Loop& loop_;
  std::function<void(RunnerCandidate)> found_;
  std::function<void()> done_;
  std::vector<std::unique_ptr<Pending>> pending_;
  struct Ending {
    Child process;
    std::unique_ptr<Poll> poll;
  };
  std::vector<std::unique_ptr<Ending>> ending_;
  Timer limit_;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace deepserve::daemon
