#include "runner/lane/message_loop.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <optional>

#include "ipc/base/clock.h"
#include "runner/engine/prompt.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kSpin_ns = 50 * kMicrosecond_ns;
constexpr uint64_t kIdleTurn_ns = 250 * kMillisecond_ns;
constexpr uint64_t kDrain_ns = 5 * kMillisecond_ns;
constexpr size_t kMessagesPerDrain = 16;
constexpr size_t kBacklogMax = 4096;  // beyond it nothing is read either: each message may ask for an answer

}  // namespace

bool hung_up(int socket_fd) {
  if (socket_fd < 0) return false;
  pollfd entry{socket_fd, POLLRDHUP, 0};
  return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

Result<LoopEnd> MessageLoop::run() {
  while (true) {
    lane_.count_step();
    if (hung_up(supervisor_fd_)) return LoopEnd::kSupervisorGone;
    if (terminate_ != 0) begin_drain();
    sink_.retry();
    if (sink_.backlog() < kBacklogMax) TRY(drain_lane());
    if (exit_) return LoopEnd::kToldToExit;
    if (!sink_.blocked()) TRY(engine_.step());
    if (state_.phase == ipc::RunnerPhase::kDraining && told_all()) {
      state_.phase = ipc::RunnerPhase::kDrained;
      sink_.state(state_);
    }
    lane_.publish_gauges(engine_.gauges());
    lane_.flush();
    if (terminate_ != 0 && state_.phase == ipc::RunnerPhase::kDrained && told_all()) return LoopEnd::kDrained;
    if (!engine_.has_work() || sink_.blocked()) lane_.wait(kSpin_ns, kIdleTurn_ns, supervisor_fd_);
  }
}

// As many messages as fit into a short time: tokenising long prompts must not hold up those who decode.
Result<void> MessageLoop::drain_lane() {
  std::optional<Error> error;
  const auto handler = [&](ipc::MessageType type, std::span<const std::byte> body) {
    if (error) return;
    if (auto result = handle(type, body); !result) error = std::move(result.error());
  };
  const uint64_t end_ns = monotonic_ns() + kDrain_ns;
  size_t handled = kMessagesPerDrain;
  while (!error && handled == kMessagesPerDrain && monotonic_ns() < end_ns) {
    TRY_ASSIGN(handled, lane_.drain(kMessagesPerDrain, handler));
  }
  if (error) return tl::unexpected<Error>(std::move(*error));
  return {};
}

Result<void> MessageLoop::handle(ipc::MessageType type, std::span<const std::byte> body) {
  switch (type) {
    case ipc::MessageType::kSubmit: {
      TRY_ASSIGN(const auto message, ipc::Submit::decode(body));
      submit(message);
      return {};
    }
    case ipc::MessageType::kCancel: {
      TRY_ASSIGN(const auto message, ipc::Cancel::decode(body));
      engine_.cancel(message.request);
      return {};
    }
    case ipc::MessageType::kAcknowledge: {
      TRY(ipc::Acknowledge::decode(body));  // nothing is kept beyond a request's end yet
      return {};
    }
    case ipc::MessageType::kControl: {
      TRY_ASSIGN(const auto message, ipc::Control::decode(body));
      if (message.kind == ipc::ControlKind::kExit) exit_ = true;
      if (message.kind == ipc::ControlKind::kDrain) begin_drain();
      return {};
    }
    case ipc::MessageType::kQuery: {
      TRY_ASSIGN(const auto message, ipc::Query::decode(body));
      sink_.answer(answer(message));
      return {};
    }
    default:
      return fail(Code::kBadLane, "message type {} does not go from the daemon to a runner",
                  static_cast<unsigned>(type));
  }
}

void MessageLoop::submit(const ipc::Submit& submit) {
  if (state_.phase != ipc::RunnerPhase::kReady) {
    sink_.failed({submit.request, Code::kShuttingDown, "this runner is draining and takes no new requests"});
    return;
  }
  engine_.submit(submit);
}

ipc::Answer MessageLoop::answer(const ipc::Query& query) const {
  ipc::Answer answer;
  answer.query = query.query;
  const auto refuse = [&answer](Error error) {
    answer.failed = true;
    answer.code = error.code;
    answer.text = std::move(error.message);
    return answer;
  };
  if (query.kind == ipc::QueryKind::kDetokenize) {
    const auto vocabulary = static_cast<TokenId>(tokenizer_.vocabulary().tokens.size());
    if (auto sound = check_ids(query.prompt.tokens, vocabulary, "tokens"); !sound)
      return refuse(sound.error());
    answer.text = tokenizer_.decode(query.prompt.tokens);
    return answer;
  }
  auto tokens = tokenize(query.prompt, query.add_special, tokenizer_, chat_);
  if (!tokens) return refuse(std::move(tokens.error()));
  answer.tokens = std::move(*tokens);
  return answer;
}

void MessageLoop::begin_drain() {
  if (state_.phase != ipc::RunnerPhase::kReady) return;
  spdlog::info("draining");
  state_.phase = ipc::RunnerPhase::kDraining;
  sink_.state(state_);
}

}  // namespace deepserve::runner
