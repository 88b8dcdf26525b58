// A runner that misbehaves, for the system tests: how is said by the name of its "model" file, e.g. gap.gguf.
// It answers a submit of "good.gguf" with one token and an end. "leaves", "changed" and "always_changed" play
// a runner that ends after it has accepted (and serves in its next life); "poisoned" serves several at once,
// a token each turn, and dies of a prompt with the word poison at its third; any other name breaks one rule
// of the lane.
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "ipc/base/clock.h"
#include "ipc/lane/lane.h"

namespace {

using namespace deepserve;
using namespace deepserve::ipc;

class RogueRunner {
 public:
  RogueRunner(std::unique_ptr<Lane> lane, std::string manner)
      : lane_(std::move(lane)), manner_(std::move(manner)), first_life_(lane_->epoch() == 1) {}

  int run() {
    if (manner_ == "silent") {
      for (;;) ::pause();
    }
    RunnerState state;
    state.phase = RunnerPhase::kReady;
    state.architecture = state.weights_type = state.numerics_id = "rogue";
    state.context_tokens = is_poisoned() ? 1024 : 64;
    state.sequences_max = is_poisoned() ? 16 : 4;
    send(MessageType::kState, state.encode());
    for (int turn = 0; !exiting_; ++turn) {
      if (manner_ == "short_lived" && turn == kShortLife) return 3;
      const auto drained = lane_->drain(64, [this](MessageType type, auto body) { handle(type, body); });
      if (!drained) return 1;
      serve_all();
      lane_->count_step();
      lane_->flush();
      lane_->wait(0, (serving_.empty() ? 100 : 1) * kMillisecond_ns, kSupervisorSocketFd);
      pollfd supervisor{kSupervisorSocketFd, POLLIN, 0};
      if (::poll(&supervisor, 1, 0) > 0) return 1;
    }
    return 0;
  }

 private:
  struct Served {
    RequestId request = 0;
    uint32_t index = 0;
    uint32_t tokens_max = 0;
    bool poison = false;
  };
  bool is_poisoned() const { return manner_ == "poisoned"; }

  void serve(const Submit& submit) {
    Served served{submit.request, 0, submit.generation.tokens_max, false};
    served.poison = submit.prompt.text.find("poison") != std::string::npos;
    if (!submit.resumed.empty()) served.index = static_cast<uint32_t>(submit.resumed[0].tokens.size());
    serving_.push_back(served);
    send(MessageType::kAccepted, Accepted{submit.request, 1, 0}.encode());
  }

  void serve_all() {
    for (Served& served : serving_) {
      if (served.poison && served.index == 2) {
        lane_->flush();
        ::_exit(3);
      }
      delta(served.request, 0, served.index++);
      if (served.index == served.tokens_max) finished(served.request);
    }
    std::erase_if(serving_, [](const Served& served) { return served.index == served.tokens_max; });
  }

  void send(MessageType type, const std::vector<std::byte>& body) { lane_->send(type, body); }

  void handle(MessageType type, std::span<const std::byte> body) {
    if (type == MessageType::kControl) exiting_ = true;
    if (type != MessageType::kSubmit) return;
    if (const auto submit = Submit::decode(body)) misbehave(*submit);
  }

  void delta(RequestId request, uint16_t choice, uint32_t index, bool echo = false) {
    Delta event;
    event.request = request;
    event.choice = choice;
    event.index = index;
    event.echo = echo;
    event.tokens = {7};
    event.text.assign(1, 'x');
    if (manner_ == "logprob_infinite") event.logprobs = {{{7, std::numeric_limits<float>::infinity(), "x"}}};
    send(MessageType::kDelta, event.encode());
  }
  // Says that an earlier dsd gave it another one like it.
  void adopted(Submit submit, RequestId request) {
    submit.request = request;
    send(MessageType::kAdopted, submit.encode());
  }
  void finished(RequestId request) {
    Finished event;
    event.request = request;
    event.usage = {1, 0, 1};
    send(MessageType::kFinished, event.encode());
  }

  void embed(RequestId request) {
    Embedding event{request, {0.6f, 0.8f}};
    if (manner_ == "embedding_wide") event.values.resize(200'000);
    if (manner_ == "embedding_no_number") event.values[0] = std::numeric_limits<float>::quiet_NaN();
    if (manner_ != "embedding_missing") send(MessageType::kEmbedding, event.encode());
    if (manner_ == "embedding_twice") send(MessageType::kEmbedding, event.encode());
    if (manner_ == "embedding_with_tokens") delta(request, 0, 0);
    finished(request);
  }

  void phase(RunnerPhase phase, Code code = Code::kInternal) {
    RunnerState state;
    state.phase = phase;
    state.code = code;
    state.message = kChanged;
    send(MessageType::kState, state.encode());
  }

  // Ends, or promises to, with a request accepted. False: not in this manner, or not in this life.
  bool leave(RequestId request, uint32_t index) {
    if (manner_ == "leaves" && first_life_) {
      delta(request, 0, index);
      phase(RunnerPhase::kDraining);
      send(MessageType::kFailed, Failed{request, Code::kShuttingDown, "draining"}.encode());
      return true;  // and stays until it is ended
    }
    if (manner_ == "always_changed" || (manner_ == "changed" && first_life_)) {
      send(MessageType::kFailed, Failed{request, Code::kBadModelFile, kChanged}.encode());
      phase(RunnerPhase::kFailed, Code::kBadModelFile);
      lane_->flush();
      ::_exit(1);
    }
    return false;
  }

  void misbehave(const Submit& submit) {
    const RequestId request = submit.request;
    if (is_poisoned()) return serve(submit);
    if (manner_ == "exit") ::_exit(3);
    if (manner_ == "unknown_type") send(static_cast<MessageType>(999), {});
    if (manner_ == "our_own_type") send(MessageType::kSubmit, submit.encode());
    if (manner_ == "adopted_unasked") return adopted(submit, request + 1);
    if (manner_ == "garbage") send(MessageType::kDelta, std::vector<std::byte>(5, std::byte{0xff}));
    if (manner_ == "unaccepted") return delta(request, 0, 0);
    if (manner_ == "finished_unaccepted") return finished(request);
    if (manner_ == "strangers") {
      // Requests that were never given: to be ignored, not believed.
      delta(request + 1'000'000, 0, 0);
      finished(request + 1'000'000);
      send(MessageType::kAccepted, Accepted{request + 1'000'000, 1, 0}.encode());
    }
    send(MessageType::kAccepted, Accepted{request, 1, 0}.encode());
    if (manner_ == "accepted_twice") send(MessageType::kAccepted, Accepted{request, 1, 0}.encode());
    if (submit.work == Work::kEmbed) return embed(request);
    if (manner_ == "gap") delta(request, 0, 5);
    if (manner_ == "choice") delta(request, 9, 0);
    if (manner_ == "echo_unasked") delta(request, 0, 0, true);
    if (manner_ == "embedding_unasked") send(MessageType::kEmbedding, Embedding{request, {1.0f}}.encode());
    if (manner_ == "repeats") delta(request, 0, 0);
    const auto index = submit.resumed.empty() ? 0 : static_cast<uint32_t>(submit.resumed[0].tokens.size());
    if (leave(request, index)) return;
    delta(request, 0, index);
    finished(request);
  }

  static constexpr int kShortLife = 8;  // turns of 100 ms: dsd sees its step counter move while it is ready
  static constexpr const char* kChanged = "/some/where/model.gguf: the file changed while it was in use";
  std::unique_ptr<Lane> lane_;
  const std::string manner_;
  const bool first_life_;
  std::vector<Served> serving_;
  bool exiting_ = false;
};

}  // namespace

int main(int argument_count, char** arguments) {
  uint64_t epoch = 0;
  std::string manner;
  for (int i = 1; i + 1 < argument_count; ++i) {
    const std::string name = arguments[i], value = arguments[i + 1];
    if (name == "--epoch") std::from_chars(value.data(), value.data() + value.size(), epoch);
    if (name == "--model") manner = std::filesystem::path(value).stem();
  }
  LaneFds fds{Fd(kLaneFdToRunner), Fd(kLaneFdToDaemon), Fd(kLaneFdRunnerWake), Fd(kLaneFdDaemonWake)};
  auto lane = Lane::attach(std::move(fds), Side::kRunner, epoch);
  return lane ? RogueRunner(std::move(*lane), manner).run() : 1;
}
