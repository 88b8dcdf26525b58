#include "runner/lane/message_loop.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "ipc/base/clock.h"
#include "runner/engine/prompt.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kSpin_ns = 50 * kMicrosecond_ns;
constexpr uint64_t kIdleTurn_ns = 250 * kMillisecond_ns;
constexpr uint64_t kDrain_ns = 5 * kMillisecond_ns;
constexpr uint64_t kWork_ns = 5 * kMillisecond_ns;
constexpr size_t kMessagesPerDrain = 16;
constexpr size_t kStagedMax = 1024;
constexpr size_t kStagedBytesMax = 8u << 20;
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
    if (sink_.backlog() < kBacklogMax) {
      TRY(drain_lane());
      if (exit_) return LoopEnd::kToldToExit;
      do_staged_work();
    }
    if (!sink_.blocked()) TRY(engine_.step());
    if (state_.phase == ipc::RunnerPhase::kDraining && told_all()) {
      state_.phase = ipc::RunnerPhase::kDrained;
      sink_.state(state_);
    }
    lane_.publish_gauges(engine_.gauges());
    sink_.flush();
    if (terminate_ != 0 && state_.phase == ipc::RunnerPhase::kDrained && told_all()) return LoopEnd::kDrained;
    if (idle() || sink_.blocked()) lane_.wait(kSpin_ns, kIdleTurn_ns, supervisor_fd_);
  }
}

// Reads on past work that waits for its turn, so that a cancel is heard within a step.
Result<void> MessageLoop::drain_lane() {
  std::optional<Error> error;
  const auto handler = [&](ipc::MessageType type, std::span<const std::byte> body) {
    if (error) return;
    if (auto result = take(type, body); !result) error = std::move(result.error());
  };
  const uint64_t end_ns = monotonic_ns() + kDrain_ns;
  size_t handled = kMessagesPerDrain;
  while (!error && handled == kMessagesPerDrain && monotonic_ns() < end_ns && staged_.size() < kStagedMax &&
         staged_bytes_ < kStagedBytesMax) {
    TRY_ASSIGN(handled, lane_.drain(kMessagesPerDrain, handler));
  }
  if (error) return tl::unexpected<Error>(std::move(*error));
  return {};
}

Result<void> MessageLoop::take(ipc::MessageType type, std::span<const std::byte> body) {
  switch (type) {
    case ipc::MessageType::kSubmit: {
      TRY_ASSIGN(auto message, ipc::Submit::decode(body));
      stage(std::move(message), body.size());
      return {};
    }
    case ipc::MessageType::kCancel: {
      TRY_ASSIGN(const auto message, ipc::Cancel::decode(body));
      cancel(message.request);
      return {};
    }
    case ipc::MessageType::kAcknowledge: {
      TRY(ipc::Acknowledge::decode(body));  // nothing is kept beyond a request's end yet
      return {};
    }
    case ipc::MessageType::kControl: {
      TRY_ASSIGN(const auto message, ipc::Control::decode(body));
      if (message.kind == ipc::ControlKind::kExit)
        exit_ = true;
      else
        stage(message, body.size());  // a drain refuses only what came after it
      return {};
    }
    case ipc::MessageType::kQuery: {
      TRY_ASSIGN(auto message, ipc::Query::decode(body));
      stage(std::move(message), body.size());
      return {};
    }
    default:
      return fail(Code::kBadLane, "message type {} does not go from the daemon to a runner",
                  static_cast<unsigned>(type));
  }
}

void MessageLoop::stage(Work work, size_t bytes) {
  staged_.push_back({std::move(work), bytes});
  staged_bytes_ += bytes;
}

void MessageLoop::cancel(ipc::RequestId request) {
  const auto found = std::ranges::find_if(staged_, [=](const StagedWork& staged) {
    const auto* submit = std::get_if<ipc::Submit>(&staged.work);
    return submit != nullptr && submit->request == request;
  });
  if (found == staged_.end()) return engine_.cancel(request);
  staged_bytes_ -= found->bytes;
  staged_.erase(found);
  ipc::Finished finished;  // none of its choices had begun
  finished.request = request;
  finished.reason = ipc::FinishReason::kCancelled;
  sink_.finished(finished);
}

// One at least, and as many as fit into a short time: tokenising long prompts must not hold up those who
// decode.
void MessageLoop::do_staged_work() {
  const uint64_t end_ns = monotonic_ns() + kWork_ns;
  do {
    if (staged_.empty()) return;
    const Work work = std::move(staged_.front().work);
    staged_bytes_ -= staged_.front().bytes;
    staged_.pop_front();
    if (const auto* message = std::get_if<ipc::Submit>(&work)) submit(*message);
    if (const auto* query = std::get_if<ipc::Query>(&work)) sink_.answer(answer(*query));
    if (const auto* control = std::get_if<ipc::Control>(&work);
        control && control->kind == ipc::ControlKind::kDrain)
      begin_drain();
  } while (monotonic_ns() < end_ns);
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
