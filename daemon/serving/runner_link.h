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
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/loop/loop.h"
#include "daemon/serving/adoption.h"
#include "daemon/serving/gpu_shares.h"
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

class RunnerLink final : private GpuUser {
 public:
  static constexpr uint64_t kTick_ms = 250;
  // Of one lane's byte rings. Their memory is touched only as far as messages fill them.
  static constexpr uint32_t kLaneBytes = 16u << 20;
  static constexpr size_t kBodyBytesMax = kLaneBytes / 4;  // of one message: the lane's own rule
  static constexpr size_t kMessagesPerTurn = 512;          // then other connections have their turn

  struct Programs {
    std::string runner;  // the runner's program
    std::string
        rendezvous;  // the directory of the sockets where a next dsd finds the runners; empty: none does
  };
  // Everything named here must outlive the link. `id`: as runner_id says, or longer, where another runner has
  // that name.
  RunnerLink(Loop& loop, const Config& config, const ModelConfig& model, DeviceGroup devices, std::string id,
             Programs programs, GpuShares& gpus, RunnerOwner& owner);
  ~RunnerLink();
  RunnerLink(const RunnerLink&) = delete;
  RunnerLink& operator=(const RunnerLink&) = delete;

  // The configuration's limits are others from now on; the process has orphan_limit from its start.
  void reconfigure(const Config& config);
  // What another dsd knew of it; before start().
  void resume(const SupervisionRecord& record) { supervision_.resume(record); }
  void start();
  // It loads beside one that serves, which goes first until it is ready for the first time. Before start().
  void load_behind() { loads_behind_ = true; }
  // Whether a runner of an earlier dsd is the one that this link would start.
  bool wants(const RunnerCandidate& candidate) const;
  // Takes it over instead of a start. On an error it is being ended, and the link is as before.
  [[nodiscard]] Result<void> adopt(RunnerCandidate candidate);
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

  // What was sent is the process' to read from here on, even if dsd goes now.
  void publish() {
    if (lane_ != nullptr) lane_->flush();
  }
  // False: the lane has no room; nothing was sent.
  [[nodiscard]] bool send(ipc::MessageType type, std::span<const std::byte> body);
  // For what must arrive: kept here while the lane has no room, dropped when the process dies.
  void send_surely(ipc::MessageType type, std::vector<std::byte> body);
  size_t body_bytes_max() const;

  const std::string& id() const { return id_; }
  const ModelConfig& model() const { return model_; }
  const DeviceGroup& devices() const { return devices_; }
  bool is_on(std::string_view device) const;
  bool is_on_gpu(std::string_view gpu) const;
  const Supervision& supervision() const { return supervision_; }
  // See Supervision.
  void absolve() { supervision_.absolve(); }
  bool is_ready() const { return supervision_.status() == RunnerStatus::kReady && !lied_ && !leaving(); }
  // It takes no new requests (it drains by itself, or it said that its model is of no use any more) and is
  // expected to end; it is ended when it has not within the drain limit.
  bool leaving() const { return leaving_since_ns_ != 0; }
  void expect_end();
  // One of its ranks has told the others why it gives up: the group will end.
  bool has_lost_a_rank() const;
  // For rows and texts: the supervision's word, "draining" for one that leaves by itself.
  std::string_view state_name() const;
  bool stopped() const { return processes_.empty(); }
  // Its process is one that an earlier dsd started.
  bool was_adopted() const { return adopted_; }
  // And has requests, of that dsd's time, of which it may not have told yet: until it says that it is ready
  // once more.
  bool tells_again() const { return adopted_ && !told_all_; }
  // Resumed tokens that are to be told again.
  bool takes_unheard() const { return abi_minor_ >= ipc::kAbiMinorOfUnheard; }
  // It has read its weights, and is not ready yet.
  bool warms_up() const { return warms_up_ && !is_ready(); }
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
  void send_signal(int number);
  void start_process();
  void lose_start(const Death& death);
  void on_gpu_open() override { step(RunnerEvent::kReleased); }
  void on_gpu_lost() override;
  std::vector<std::string> command_of(uint32_t rank) const;
  Result<void> spawn();
  Result<void> spawn_ranks(std::span<const std::pair<int, int>> lane_fds);
  Result<void> adopt_ranks(RunnerCandidate& candidate);
  Result<void> begin_life(ipc::LaneFds fds);
  Result<Fd> make_rendezvous();
  void name_rendezvous();
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
  const Programs programs_;
  uint64_t orphan_limit_ns_;
  uint64_t leave_limit_ns_;
  GpuShares& gpus_;
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
  Fd supervisor_socket_;    // its hang-up tells the runner that dsd is gone
  std::string rendezvous_;  // the file of the socket where the next dsd finds the runner; empty: none
  std::unique_ptr<Poll> wake_poll_;
  std::deque<std::pair<ipc::MessageType, std::vector<std::byte>>> unsent_;
  std::optional<ipc::RunnerState> facts_;
  std::optional<Error> reported_;
  std::vector<std::function<void(Result<void>)>> restart_waiters_;
  uint64_t started_ns_ = 0;
  uint64_t stepped_ns_ = 0;
  OomWatch oom_watch_{oom_kill_count};
  bool loads_behind_ = false;
  bool adopted_ = false;
  uint16_t abi_minor_ = ipc::kAbiMinor;
  bool told_all_ = false;
  bool warms_up_ = false;
  bool served_ = false;  // a token came since the last tick: it works, beyond warming up and idle turns
  uint64_t leaving_since_ns_ = 0;  // 0: it does not
  bool drained_ = false;           // it said so
  bool signalled_ = false;
  bool ended_abruptly_ = false;  // one of its processes: by a signal, or nobody tells how
  bool lied_ = false;
  bool drain_deferred_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // deferred functions look here first
};

}  // namespace deepserve::daemon
