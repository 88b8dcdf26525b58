// One runner share: its processes, its lane and its supervision, from one life to the next.
//
// A model that is spread over several devices has a process for each: rank 0 holds the lane, the others have
// only the memory of their group (ipc/rank_group). They live and die together: the first death ends the
// others, and supervision hears of one death once all are gone.
//
// The rules are supervise/'s; this file gives them time and events and does what they say. Everything is on
// the loop's thread. Calls to the owner may come from any method but the constructor; the owner must not
// destroy the link in them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/loop/loop.h"
#include "daemon/supervise/child.h"
#include "daemon/supervise/oom_count.h"
#include "daemon/supervise/progress_watch.h"
#include "daemon/supervise/rank_deaths.h"
#include "daemon/supervise/runner_command.h"
#include "daemon/supervise/supervision.h"
#include "ipc/lane/lane.h"
#include "ipc/rank_group/group_memory.h"

namespace deepserve::daemon {

class RunnerLink;

class RunnerOwner {
 public:
  // One message other than State, in order. False: it lies; its process is killed.
  [[nodiscard]] virtual bool on_message(RunnerLink& link, ipc::MessageType type,
                                        std::span<const std::byte> body) = 0;
  // It takes requests from now on.
  virtual void on_ready(RunnerLink& link) = 0;
  // Its process is gone, all that it had published has been handed over, and what comes next is decided.
  virtual void on_died(RunnerLink& link, Blame blame) = 0;
  // A process is started in place of one that died: why, for the metrics.
  virtual void on_restart(RunnerLink& link, const std::string& reason) = 0;
  // After messages were handled: there may be room for work.
  virtual void on_drained(RunnerLink& link) = 0;

 protected:
  ~RunnerOwner() = default;
};

class RunnerLink {
 public:
  static constexpr uint64_t kTick_ms = 250;
  // Of one lane's byte rings. Their memory is touched only as far as messages fill them.
  static constexpr uint32_t kLaneBytes = 16u << 20;
  static constexpr size_t kBodyBytesMax = kLaneBytes / 4;  // of one message: the lane's own rule
  static constexpr size_t kMessagesPerTurn = 512;          // then other connections have their turn

  // Everything named here must outlive the link. `binary`: the runner's program.
  RunnerLink(Loop& loop, const Config& config, const ModelConfig& model, DeviceGroup devices,
             std::string binary, RunnerOwner& owner);
  ~RunnerLink();
  RunnerLink(const RunnerLink&) = delete;
  RunnerLink& operator=(const RunnerLink&) = delete;

  void start();
  // `done` once a new process is ready, or none will be.
  void restart(std::function<void(Result<void>)> done);
  // Asks the process to exit; then as supervise/ says. stopped() becomes true.
  void stop();
  // dsd ends now: SIGKILL to whatever is left.
  void kill_now();

  // Just before the loop sleeps: flushes the lane and arms it, or has it drained before the loop sleeps.
  void turn();
  // Every kTick_ms.
  void tick(uint64_t now_ns);

  // False: the lane has no room; nothing was sent.
  [[nodiscard]] bool send(ipc::MessageType type, std::span<const std::byte> body);
  // For what must arrive: kept here while the lane has no room, dropped when the process dies.
  void send_surely(ipc::MessageType type, std::vector<std::byte> body);
  size_t body_bytes_max() const;

  const std::string& id() const { return id_; }
  const ModelConfig& model() const { return model_; }
  const DeviceGroup& devices() const { return devices_; }
  const Supervision& supervision() const { return supervision_; }
  bool is_ready() const { return supervision_.status() == RunnerStatus::kReady && !lied_ && !leaving(); }
  // It takes no new requests (it drains by itself, or it said that its model is of no use any more) and is
  // expected to end; it is ended when it has not within the drain limit.
  bool leaving() const { return leaving_since_ns_ != 0; }
  void expect_end();
  // For rows and texts: the supervision's word, "draining" for one that leaves by itself.
  std::string_view state_name() const;
  bool stopped() const { return processes_.empty(); }
  bool has_room() const { return lane_ != nullptr && lane_->outbox_bytes() == 0 && unsent_.empty(); }
  // Ready and its step counter moved within the last three seconds.
  bool makes_progress(uint64_t now_ns) const;
  pid_t pid() const { return pid_of(0); }
  // -1 while there is none.
  pid_t pid_of(uint32_t rank) const { return rank < processes_.size() ? processes_[rank].child.pid() : -1; }
  uint64_t started_ns() const { return started_ns_; }
  ipc::Progress progress() const { return lane_ ? lane_->progress() : ipc::Progress{}; }
  ipc::Gauges gauges() const { return lane_ ? lane_->read_gauges() : ipc::Gauges{}; }
  // Of the process that is ready.
  const std::optional<ipc::RunnerState>& facts() const { return facts_; }

 private:
  void step(RunnerEvent event, const Death* death = nullptr);
  void act(RunnerActions actions);
  Result<void> spawn();
  Result<void> spawn_ranks(std::span<const std::pair<int, int>> lane_fds);
  void drain();
  void handle(ipc::MessageType type, std::span<const std::byte> body);
  void handle_state(std::span<const std::byte> body);
  void on_process_ended(uint32_t rank);
  void end_other_ranks();
  void on_all_ended();
  void drain_last_words();
  void close_process();
  void arrange_timer();
  void answer_waiters();

  Loop& loop_;
  const ModelConfig& model_;
  const DeviceGroup devices_;  // of its ranks, in their order
  const std::string id_;
  const std::string binary_;
  const uint64_t leave_limit_ns_;
  RunnerOwner& owner_;
  Supervision supervision_;
  ProgressWatch watch_;
  Timer timer_;
  const ipc::Handler handler_;

  uint64_t epoch_ = 0;
  struct Process {
    Child child;
    std::unique_ptr<Poll> death_poll;  // none once it has ended
    bool killed_with_group = false;
  };
  std::vector<Process> processes_;           // of each rank; empty: there is none
  std::shared_ptr<ipc::GroupMemory> group_;  // what ranks without a lane write last; none for one rank
  RankDeaths deaths_;
  std::unique_ptr<ipc::Lane> lane_;
  Fd supervisor_socket_;  // its hang-up tells the runner that dsd is gone
  std::unique_ptr<Poll> wake_poll_;
  std::deque<std::pair<ipc::MessageType, std::vector<std::byte>>> unsent_;
  std::optional<ipc::RunnerState> facts_;
  std::optional<Error> reported_;
  std::vector<std::function<void(Result<void>)>> restart_waiters_;
  uint64_t started_ns_ = 0;
  uint64_t stepped_ns_ = 0;
  OomWatch oom_watch_{oom_kill_count};
  bool served_ = false;  // a token came since the last tick: it works, beyond warming up and idle turns
  uint64_t leaving_since_ns_ = 0;  // 0: it does not
  bool drained_ = false;           // it said so
  bool signalled_ = false;
  bool lied_ = false;
  bool drain_deferred_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // deferred functions look here first
};

}  // namespace deepserve::daemon
