// The runner's main loop: messages in, a step, events out.
#pragma once

#include <csignal>
#include <deque>
#include <span>
#include <variant>

#include "ipc/lane/lane.h"
#include "runner/engine/engine.h"
#include "runner/lane/lane_sink.h"

namespace deepserve::runner {

enum class LoopEnd : uint8_t {
  kToldToExit,      // control exit
  kDrained,         // after SIGTERM: all that ran has ended
  kSupervisorGone,  // dsd's end of the socket is closed
};

class MessageLoop {
 public:
  // All is borrowed. `ready` is what the runner is (phase kReady); `supervisor_fd` -1: none; `terminate`
  // becomes non-zero when the process is to drain and end.
  MessageLoop(ipc::Lane& lane, LaneSink& sink, Engine& engine, const Tokenizer& tokenizer,
              const Result<ChatTemplate>& chat, const ipc::RunnerState& ready, int supervisor_fd,
              const volatile std::sig_atomic_t& terminate)
      : lane_(lane),
        sink_(sink),
        engine_(engine),
        tokenizer_(tokenizer),
        chat_(chat),
        state_(ready),
        supervisor_fd_(supervisor_fd),
        terminate_(terminate) {}

  // Turns until there is a reason to end. A drain is told (State draining) before any request is refused for
  // it (kShuttingDown): the daemon can give such a request to another runner, and no more to this one.
  // Each turn counts as progress; idle it turns at least every 250 ms.
  // While the lane refuses messages no step is made. An error is the device's or the lane's: the process
  // should end.
  Result<LoopEnd> run();

 private:
  using Work = std::variant<ipc::Submit, ipc::Query, ipc::Control>;
  struct StagedWork {
    Work work;
    size_t bytes;
  };
  Result<void> drain_lane();
  Result<void> take(ipc::MessageType type, std::span<const std::byte> body);
  void stage(Work work, size_t bytes);
  void cancel(ipc::RequestId request);
  void do_staged_work();
  void submit(const ipc::Submit& submit);
  ipc::Answer answer(const ipc::Query& query) const;
  void begin_drain();
  bool idle() const { return staged_.empty() && !engine_.has_work(); }
  bool told_all() const { return idle() && !sink_.blocked(); }

  ipc::Lane& lane_;
  LaneSink& sink_;
  Engine& engine_;
  const Tokenizer& tokenizer_;
  const Result<ChatTemplate>& chat_;
  ipc::RunnerState state_;
  int supervisor_fd_;
  const volatile std::sig_atomic_t& terminate_;
  bool exit_ = false;
  // Taken from the lane, and waiting in order for its turn: what may have to be tokenised, and the drain
  // behind it. A cancel overtakes it.
  std::deque<StagedWork> staged_;
  size_t staged_bytes_ = 0;
};

// True when the other end of the socket is closed. -1 never is.
bool hung_up(int socket_fd);

}  // namespace deepserve::runner
