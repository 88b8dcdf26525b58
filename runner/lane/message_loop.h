// The runner's main loop: messages in, a step, events out.
#pragma once

#include <csignal>
#include <deque>
#include <optional>
#include <span>
#include <variant>

#include "ipc/lane/lane.h"
#include "runner/engine/engine.h"
#include "runner/lane/daemon_link.h"
#include "runner/lane/lane_sink.h"

namespace deepserve::runner {

enum class LoopEnd : uint8_t {
  kToldToExit,      // control exit
  kDrained,         // after SIGTERM: all that ran has ended
  kSupervisorGone,  // dsd is gone, and no other one came
};

class MessageLoop {
 public:
  // All is borrowed. `ready` is what the runner is (phase kReady); `terminate` becomes non-zero when the
  // process is to drain and end. Without a dsd for `orphan_limit_ns` it drains and ends as well, unless
  // another one comes while it does.
  MessageLoop(DaemonLink& link, LaneSink& sink, Engine& engine, const Tokenizer& tokenizer,
              const Result<ChatTemplate>& chat, const ipc::RunnerState& ready, uint64_t orphan_limit_ns,
              const volatile std::sig_atomic_t& terminate)
      : link_(link),
        sink_(sink),
        engine_(engine),
        tokenizer_(tokenizer),
        chat_(chat),
        ready_(ready),
        state_(ready),
        orphan_limit_ns_(orphan_limit_ns),
        terminate_(terminate) {}

  // Turns until there is a reason to end. A drain is told (State draining) before any request is refused for
  // it (kShuttingDown): the daemon can give such a request to another runner, and no more to this one.
  // Each turn counts as progress; idle it turns at least every 250 ms.
  // When dsd is gone what it had sent is taken, and work goes on into the log; the next dsd hears of it all.
  // While the lane refuses messages no step is made. An error is the device's or the lane's: the process
  // should end.
  Result<LoopEnd> run();

 private:
  using Work = std::variant<ipc::Submit, ipc::Query, ipc::Control>;
  struct StagedWork {
    Work work;
    size_t bytes;
  };
  // Nothing; or why the loop is to end.
  std::optional<LoopEnd> look_at_daemon();
  void take_last_words();
  void begin_with_new_daemon();
  void end_telling_again();
  Result<void> drain_lane();
  Result<void> take(ipc::MessageType type, std::span<const std::byte> body);
  Result<void> take_submit(std::span<const std::byte> body);
  void stage(Work work, size_t bytes);
  void cancel(ipc::RequestId request);
  void do_staged_work();
  void wait_for_next_step();
  void submit(const ipc::Submit& submit);
  ipc::Answer answer(const ipc::Query& query) const;
  void begin_drain();
  ipc::Lane& lane() { return link_.lane(); }
  bool idle() const { return staged_.empty() && !engine_.has_work(); }
  bool told_all() const { return idle() && !sink_.blocked(); }

  DaemonLink& link_;
  LaneSink& sink_;
  Engine& engine_;
  const Tokenizer& tokenizer_;
  const Result<ChatTemplate>& chat_;
  const ipc::RunnerState ready_;
  ipc::RunnerState state_;
  const uint64_t orphan_limit_ns_;
  const volatile std::sig_atomic_t& terminate_;
  bool exit_ = false;
  bool tells_again_ = false;       // a new dsd has not heard of all requests that there were before it
  bool drains_as_orphan_ = false;  // it would not drain if there were a dsd
  // Taken from the lane, and waiting in order for its turn: what may have to be tokenised, and the drain
  // behind it. A cancel overtakes it.
  std::deque<StagedWork> staged_;
  size_t staged_bytes_ = 0;
};

}  // namespace deepserve::runner
