#include "runner/lane/message_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "ipc/base/clock.h"
#include "runner/engine/prompt.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kSpin_ns = 50 * kMicrosecond_ns;
constexpr uint64_t kIdleTurn_ns = 250 * kMillisecond_ns;
constexpr uint64_t kHoldTurn_ns = 5 * kMillisecond_ns;
constexpr uint64_t kLook_ns = 500 * kMicrosecond_ns;
constexpr uint64_t kDrain_ns = 5 * kMillisecond_ns;
constexpr uint64_t kWork_ns = 5 * kMillisecond_ns;
constexpr size_t kMessagesPerDrain = 16;
constexpr size_t kStagedMax = 1024;
constexpr size_t kStagedBytesMax = 8u << 20;
constexpr size_t kBacklogMax = 4096;  // beyond it nothing is read either: each message may ask for an answer

}  // namespace

Result<LoopEnd> MessageLoop::run() {
  while (true) {
    lane().count_step();
    if (const auto end = look_at_daemon()) return *end;
    if (terminate_ != 0) begin_drain();
    sink_.retry();
    end_telling_again();
    if (link_.attached() && sink_.backlog() < kBacklogMax) {
      TRY(drain_lane());
      if (exit_) return LoopEnd::kToldToExit;
    }
    if (sink_.backlog() < kBacklogMax) do_staged_work();
    const bool holds = link_.expects_daemon();
    const bool due = monotonic_ns() >= engine_.next_step_ns();
    if (!sink_.blocked() && !holds && due) TRY(engine_.step());
    for (const ipc::RequestId request : sink_.take_abandoned()) cancel(request);
    if (state_.phase == ipc::RunnerPhase::kDraining && told_all()) {
      state_.phase = ipc::RunnerPhase::kDrained;
      sink_.state(state_);
    }
    lane().publish_gauges(engine_.gauges());
    sink_.flush();
    if (state_.phase == ipc::RunnerPhase::kDrained && told_all()) {
      if (terminate_ != 0) return LoopEnd::kDrained;
      if (drains_as_orphan_) return LoopEnd::kSupervisorGone;
    }
    const bool has_history = sink_.tells_history() && !sink_.lane_is_full();
    if ((idle() && !has_history) || sink_.blocked() || holds) {
      link_.wait(kSpin_ns, holds ? kHoldTurn_ns : kIdleTurn_ns);
    } else if (staged_.empty() && !has_history) {
      wait_for_next_step();
    }
  }
}

// While the device is at work: for messages, too, which may still be part of the next step. The device may be
// done earlier than was expected, which wakes nobody.
void MessageLoop::wait_for_next_step() {
  const uint64_t due_ns = engine_.next_step_ns(), now_ns = monotonic_ns();
  if (due_ns > now_ns) link_.wait(0, std::min(due_ns - now_ns, kLook_ns));
}

std::optional<LoopEnd> MessageLoop::look_at_daemon() {
  switch (link_.look()) {
    case DaemonLink::Change::kLost:
      take_last_words();
      if (exit_) return LoopEnd::kToldToExit;
      if (!link_.may_be_adopted()) return LoopEnd::kSupervisorGone;
      spdlog::warn("the daemon has gone; {} request(s) go on", sink_.log().size());
      sink_.detach();
      break;
    case DaemonLink::Change::kAdopted:
      begin_with_new_daemon();
      break;
    case DaemonLink::Change::kNone:
      break;
  }
  sink_.forget_old(monotonic_ns());
  if (link_.detached_ns() > orphan_limit_ns_ && state_.phase == ipc::RunnerPhase::kReady) {
    spdlog::warn("no daemon has come for {:.1f} s", static_cast<double>(link_.detached_ns()) * 1e-9);
    drains_as_orphan_ = true;
    begin_drain();
  }
  return std::nullopt;
}

// What a daemon had published when it died counts, until it makes no sense.
void MessageLoop::take_last_words() {
  bool sound = true;
  const auto handler = [&](ipc::MessageType type, std::span<const std::byte> body) {
    if (sound && !take(type, body)) sound = false;
  };
  while (sound) {
    const auto handled = lane().drain(kMessagesPerDrain, handler);
    if (!handled || *handled == 0) return;
  }
}

// It hears what this runner is, and then of every request from its beginning on.
void MessageLoop::begin_with_new_daemon() {
  if (std::exchange(drains_as_orphan_, false) && terminate_ == 0) state_.phase = ipc::RunnerPhase::kReady;
  spdlog::info("adopted by a new daemon, epoch {}; {} request(s) are told again", lane().epoch(),
               sink_.log().size());
  sink_.attach(lane());
  lane().publish_gauges(engine_.gauges());
  sink_.state(ready_);
  if (state_.phase != ready_.phase) sink_.state(state_);
  tells_again_ = true;
}

// Ready once more: that was all. One that drains says nothing, and is waited for a while.
void MessageLoop::end_telling_again() {
  if (!tells_again_ || !link_.attached() || sink_.blocked() || sink_.tells_history()) return;
  tells_again_ = false;
  if (state_.phase == ipc::RunnerPhase::kReady) sink_.state(state_);
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
    TRY_ASSIGN(handled, lane().drain(kMessagesPerDrain, handler));
  }
  if (error) return tl::unexpected<Error>(std::move(*error));
  return {};
}

Result<void> MessageLoop::take(ipc::MessageType type, std::span<const std::byte> body) {
  switch (type) {
    case ipc::MessageType::kSubmit:
      return take_submit(body);
    case ipc::MessageType::kCancel: {
      TRY_ASSIGN(const auto message, ipc::Cancel::decode(body));
      cancel(message.request);
      return {};
    }
    case ipc::MessageType::kAcknowledge: {
      TRY_ASSIGN(const auto message, ipc::Acknowledge::decode(body));
      sink_.acknowledge(message.request, monotonic_ns());
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

// Kept from here on; one that is here already is nobody's second.
Result<void> MessageLoop::take_submit(std::span<const std::byte> body) {
  TRY_ASSIGN(auto message, ipc::Submit::decode(body));
  if (sink_.begin(message, body)) stage(std::move(message), body.size());
  return {};
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

// One at least, and as many as fit into a short time, or until the next step is due: tokenising long prompts
// must not hold up those who decode.
void MessageLoop::do_staged_work() {
  if (staged_.empty()) return;
  const uint64_t due_ns = engine_.next_step_ns();
  uint64_t end_ns = monotonic_ns() + kWork_ns;
  if (due_ns != 0) end_ns = std::min(end_ns, due_ns);
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
