// The MPS daemon of one GPU, `nvidia-cuda-mps-control -f`: its process from one life to the next, and what is
// said to it. Supervised by the rules that runners have (supervise/supervision.h).
//
// It is a child of dsd in a session of its own, with its files in DIR/<gpu>. A dsd that dies leaves it to the
// next one, as it leaves the runners that are its clients: whose files are there is found by find_left_mps.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/loop.h"
#include "daemon/serving/mps_command.h"
#include "daemon/supervise/child.h"
#include "daemon/supervise/supervision.h"

namespace deepserve::daemon {

class MpsDaemon {
 public:
  static constexpr uint64_t kAnswerLimit_ns = 10 * kSecond_ns;  // from its start to its first answer
  static constexpr uint64_t kAskAgain_ms = 50;

  struct Hooks {
    std::function<void()> ready;                       // it answers: clients may come
    std::function<void()> gone;                        // its process has ended unasked
    std::function<void(const std::string&)> given_up;  // none will come by itself, and why
    std::function<bool()> may_start;                   // false: it waits for release()
    std::function<Environment()> environment;
  };

  MpsDaemon(Loop& loop, const SupervisionLimits& limits, std::string directory, std::string gpu, Hooks hooks);
  ~MpsDaemon();

  // There is to be one: now, or once the one that ends is gone, or clients of the last one are.
  void start();
  // One of an earlier dsd is this one from now on. kNotFound: it has gone.
  Result<void> adopt(const ipc::ProcessIdentity& process);
  // There is to be none: quit, then SIGTERM, then SIGKILL.
  void stop();
  void release();
  // A client works: the next death is the first again.
  void forgive() { step(RunnerEvent::kServed); }
  // Has it take the GPU from one client, as far as it still can; `done` then, or after two limits of a
  // command. Before SIGKILL: what a killed client leaves unfinished can hang the others.
  void terminate_client(pid_t client, std::function<void()> done);
  void kill_now();

  void set_limits(const SupervisionLimits& limits) { supervision_.set_limits(limits); }
  bool stopped() const { return child_ == nullptr; }
  bool is_asked() const { return !commands_.empty(); }
  pid_t pid() const { return child_ == nullptr ? -1 : child_->pid(); }
  const Supervision& supervision() const { return supervision_; }

 private:
  void step(RunnerEvent event, const Death* death = nullptr);
  void act(RunnerActions actions);
  Result<void> spawn();
  void watch();
  void ask_whether_ready();
  void say(const std::string& words, MpsCommand::Done done);
  void on_ended();
  void arrange_timer();

  Loop& loop_;
  const std::string directory_;
  const std::string gpu_;
  const Hooks hooks_;
  Supervision supervision_;
  Timer timer_;
  Timer ask_again_;
  std::unique_ptr<Child> child_;
  std::unique_ptr<Poll> death_poll_;
  std::list<std::unique_ptr<MpsCommand>> commands_;
  uint64_t started_ns_ = 0;
  bool start_again_ = false;  // once it has stopped
};

}  // namespace deepserve::daemon
