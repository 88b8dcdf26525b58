// A runner without a model, for measuring dsd alone: it takes every request and emits the token " token" as
// fast as the lane takes it, one token a delta, up to the request's tokens_max. It says that it is synthetic
// wherever it can.
#include <poll.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "ipc/base/clock.h"
#include "ipc/lane/lane.h"

namespace {

using namespace deepserve;
using namespace deepserve::ipc;

constexpr uint32_t kContextTokens = 1 << 20;
constexpr uint32_t kSequencesMax = 1024;
constexpr uint32_t kPromptTokens = 4;
constexpr size_t kMessagesPerTurn = 64;
constexpr uint64_t kIdle_ns = 200 * kMillisecond_ns;

struct Active {
  uint16_t choices = 1;
  uint32_t tokens_max = 0;
  uint32_t index = 0;
};

class SyntheticRunner {
 public:
  explicit SyntheticRunner(std::unique_ptr<Lane> lane) : lane_(std::move(lane)) {
    handler_ = [this](MessageType type, std::span<const std::byte> body) { handle(type, body); };
  }

  int run() {
    say_state(RunnerPhase::kLoading);
    say_state(RunnerPhase::kReady);
    while (!exiting_) {
      if (const auto drained = lane_->drain(kMessagesPerTurn, handler_); !drained) return 1;
      const bool has_room = emit();
      lane_->count_step();
      lane_->flush();
      if (!active_.empty() && has_room) continue;
      lane_->wait(0, kIdle_ns, kSupervisorSocketFd);
      pollfd supervisor{kSupervisorSocketFd, POLLIN, 0};
      if (poll(&supervisor, 1, 0) > 0) return 1;  // dsd is gone
    }
    return 0;
  }

 private:
  void say_state(RunnerPhase phase) {
    RunnerState state;
    state.phase = phase;
    state.architecture = "synthetic";
    state.weights_type = "synthetic";
    state.chat_template = "synthetic";
    state.numerics_id = "synthetic";
    state.isa = "synthetic";
    state.context_tokens = state.context_tokens_model = kContextTokens;
    state.vocabulary = 2;
    state.kv_blocks = 1;
    state.kv_block_tokens = kContextTokens;
    state.sequences_max = kSequencesMax;
    send(MessageType::kState, state.encode());
    Gauges gauges;
    gauges.kv_blocks_free = gauges.kv_blocks_total = 1;
    lane_->publish_gauges(gauges);
    lane_->flush();
  }

  bool send(MessageType type, const std::vector<std::byte>& body) {
    return lane_->send(type, body) == SendOutcome::kSent;
  }

  void handle(MessageType type, std::span<const std::byte> body) {
    if (type == MessageType::kSubmit) {
      const auto submit = Submit::decode(body);
      if (!submit) return;
      send(MessageType::kAccepted, Accepted{submit->request, kPromptTokens, 0}.encode());
      if (submit->work == Work::kEmbed) {
        send(MessageType::kEmbedding, Embedding{submit->request, {1.0f}}.encode());
        return finish(submit->request, {}, FinishReason::kStop);
      }
      if (submit->generation.echo && submit->resumed.empty())
        echo(submit->request, submit->generation.choices);
      auto& active = active_[submit->request];
      active.choices = submit->generation.choices;
      active.tokens_max = std::min(submit->generation.tokens_max, kContextTokens - kPromptTokens);
      active.index =
          submit->resumed.empty() ? 0 : static_cast<uint32_t>(submit->resumed.front().tokens.size());
    } else if (type == MessageType::kCancel) {
      const auto cancel = Cancel::decode(body);
      if (cancel && active_.erase(cancel->request) != 0)
        finish(cancel->request, {}, FinishReason::kCancelled);
    } else if (type == MessageType::kControl) {
      const auto control = Control::decode(body);
      exiting_ = control && control->kind == ControlKind::kExit;
    } else if (type == MessageType::kQuery) {
      const auto query = Query::decode(body);
      if (!query) return;
      Answer answer;
      answer.query = query->query;
      answer.tokens.assign(kPromptTokens, 1);
      answer.text = " token";
      send(MessageType::kAnswer, answer.encode());
    }
  }

  void echo(RequestId request, uint16_t choices) {
    Delta delta;
    delta.request = request;
    delta.echo = true;
    delta.tokens.assign(kPromptTokens, 1);
    delta.text = " token token token token";
    for (delta.choice = 0; delta.choice < choices; ++delta.choice) send(MessageType::kDelta, delta.encode());
  }

  void finish(RequestId request, const Active& active, FinishReason reason) {
    for (uint16_t choice = 0; choice < active.choices; ++choice) {
      Finished finished;
      finished.request = request;
      finished.choice = choice;
      finished.reason = reason;
      finished.last = choice + 1 == active.choices;
      finished.usage = {kPromptTokens, 0, active.index * active.choices};
      send(MessageType::kFinished, finished.encode());
    }
  }

  // One token of every choice of every request. False: the lane is full.
  bool emit() {
    Delta delta;
    delta.tokens = {1};
    delta.text = " token";
    for (auto one = active_.begin(); one != active_.end();) {
      auto& [request, active] = *one;
      if (active.index >= active.tokens_max) {
        finish(request, active, FinishReason::kLength);
        one = active_.erase(one);
        continue;
      }
      delta.request = request;
      delta.index = active.index;
      bool sent = true;
      for (delta.choice = 0; delta.choice < active.choices; ++delta.choice) {
        sent = send(MessageType::kDelta, delta.encode()) && sent;
      }
      ++active.index;
      // Queued in the outbox: it goes out, but nothing more until there is room.
      if (!sent) return false;
      ++one;
    }
    return true;
  }

  std::unique_ptr<Lane> lane_;
  Handler handler_;
  std::map<RequestId, Active> active_;
  bool exiting_ = false;
};

}  // namespace

int main(int argument_count, char** arguments) {
  uint64_t epoch = 0;
  for (int i = 1; i + 1 < argument_count; ++i) {
    const char* value = arguments[i + 1];
    if (std::strcmp(arguments[i], "--epoch") == 0) std::from_chars(value, value + std::strlen(value), epoch);
  }
  LaneFds fds{Fd(kLaneFdToRunner), Fd(kLaneFdToDaemon), Fd(kLaneFdRunnerWake), Fd(kLaneFdDaemonWake)};
  auto lane = Lane::attach(std::move(fds), Side::kRunner, epoch);
  if (!lane) {
    std::fprintf(stderr, "synthetic_runner: %s\n", lane.error().message.c_str());
    return 1;
  }
  return SyntheticRunner(std::move(*lane)).run();
}
