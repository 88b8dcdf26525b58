// What runners say about requests. A runner is not trusted: false ends it.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/serving/caller.h"
#include "daemon/serving/kept_request.h"
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

// The record of a request that `runner` has; null for one that has ended here already.
Service::Record* Service::find(const Runner& runner, RequestId id) {
  const auto found = records_.find(id);
  return found != records_.end() && found->second->runner == &runner ? found->second.get() : nullptr;
}

// What admission learns from what is news.
void Service::tell_admission(Record& record, const ipc::Accepted& event) {
  note(record, TraceKind::kAccepted, event.prompt_tokens);
  record.cached_tokens = event.cached_tokens;
  tell(Accepted{record.id, event.prompt_tokens, event.cached_tokens});
}

void Service::tell_admission(Record& record, const ipc::Delta& event) {
  if (event.echo || event.tokens.empty()) return;
  auto count = static_cast<uint32_t>(event.tokens.size());
  record.last_ns = monotonic_ns();
  if (record.first_ns == 0) record.first_ns = record.last_ns;
  if (!std::exchange(record.first_told, true)) {
    note(record, TraceKind::kFirstToken, record.progress.generated_tokens());
    tell(FirstToken{record.id});
    --count;
  }
  if (count > 0) tell(TokensCame{record.id, count});
}

void Service::tell_admission(Record& record, const ipc::Embedding& /*event*/) {
  if (!std::exchange(record.first_told, true)) tell(FirstToken{record.id});
}

// An event of a request that goes on: `hear` judges it, `pass_on` tells the sink what is news.
template <typename Event, typename Hear, typename Tell>
bool Service::on_progress(Runner& runner, std::span<const std::byte> body, RequestEvent kind, Hear hear,
                          Tell pass_on) {
  auto event = Event::decode(body);
  if (!event) return false;
  auto* record = find(runner, event->request);
  if (record == nullptr) return true;
  const auto cell = request_cell(record->state, kind);
  if (cell.rule == RequestRule::kImpossible) return false;
  record->state = cell.next;
  if (cell.rule != RequestRule::kTell) return true;
  const Heard heard = (record->progress.*hear)(*event);
  if (heard == Heard::kNews || heard == Heard::kRetold) {
    if (kind == RequestEvent::kAccept && !record->fallback.degraded.how.empty()) {
      record->sink->on_degraded(record->fallback.degraded);
    }
    if (heard == Heard::kNews) tell_admission(*record, *event);
    (record->sink->*pass_on)(*event);
  }
  return heard != Heard::kLie;
}

bool Service::on_message(RunnerLink& link, ipc::MessageType type, std::span<const std::byte> body) {
  auto& runner = runner_of(link);
  switch (type) {
    case ipc::MessageType::kDelta:
      return on_progress<ipc::Delta>(runner, body, RequestEvent::kDelta, &RequestProgress::on_delta,
                                     &ResponseSink::on_delta);
    case ipc::MessageType::kEmbedding:  // to the request's life what the first token is to others'
      return on_progress<ipc::Embedding>(runner, body, RequestEvent::kDelta, &RequestProgress::on_embedding,
                                         &ResponseSink::on_embedding);
    case ipc::MessageType::kAccepted:
      return on_progress<ipc::Accepted>(runner, body, RequestEvent::kAccept, &RequestProgress::on_accepted,
                                        &ResponseSink::on_accepted);
    case ipc::MessageType::kFinished:
      return on_finished(runner, body);
    case ipc::MessageType::kAdopted:
      return on_adopted(runner, body);
    case ipc::MessageType::kFailed:
      return on_failed(runner, body);
    case ipc::MessageType::kAnswer:
      return on_answer(runner, body);
    default:
      return false;
  }
}

// A request of an earlier dsd, which its runner has: what was told of it follows.
bool Service::on_adopted(Runner& runner, std::span<const std::byte> body) {
  auto submit = ipc::Submit::decode(body);
  if (!submit || !runner.link->was_adopted()) return false;
  const RequestId id = submit->request;
  if (find(runner, id) != nullptr) return false;
  auto kept = decode_kept(std::move(*submit));
  if (!kept || records_.contains(id)) {
    spdlog::warn("runner {} (pid {}): request {:016x} is not taken over: {}", runner.link->id(),
                 runner.link->pid(), id, kept ? "another runner has it" : kept.error().message);
    runner.link->send_surely(ipc::MessageType::kCancel, ipc::Cancel{id}.encode());
    return true;
  }
  const auto before = take_running(id);
  auto& record = adopt(runner, std::move(*kept));
  if (record.sink == nullptr) {
    let_go(record);
  } else if (before) {
    recall(record, *before);
  }
  return true;
}

// As dispatched to `runner`. Without a sink where nobody wants to hear of it.
Service::Record& Service::adopt(Runner& runner, KeptRequest kept) {
  const RequestId id = kept.id;
  const auto match = match_client(config_, caller_of(kept.spec.peer));
  const RequestProgress progress(kept.spec.work, kept.spec.generation);
  const uint64_t arrived_ns = std::min(kept.arrived_ns, monotonic_ns());
  Fallback fallback;
  fallback.degraded = std::move(kept.degraded);
  auto& record = *records_
                      .emplace(id, std::make_unique<Record>(
                                       Record{id, std::move(kept.spec), runner.model, runner.line, arrived_ns,
                                              kept.deadline_ns, nullptr, RequestState::kDispatched, &runner,
                                              progress, true, false, "", std::move(fallback)}))
                      .first->second;
  runner.requests.insert(id);
  begin_trace(record);
  note(record, TraceKind::kAdopted);
  tell(Adopted{arrival_of(record, match, 0), runner.index});
  record.sink = options_.adopt ? options_.adopt(id, record.spec) : nullptr;
  return record;
}

bool Service::on_finished(Runner& runner, std::span<const std::byte> body) {
  auto event = ipc::Finished::decode(body);
  if (!event) return false;
  const bool runner_is_done = event->last;
  auto* record = find(runner, event->request);
  if (record == nullptr) {
    if (runner_is_done) acknowledge(runner, event->request);
    return true;
  }
  const auto cell = request_cell(record->state, RequestEvent::kFinish);
  if (cell.rule == RequestRule::kImpossible) return false;
  if (cell.rule == RequestRule::kDrop) {
    if (runner_is_done) complete(*record, true, EndKind::kCancelled);
    return true;
  }
  const auto heard = record->progress.on_finished(*event);
  if (heard == Heard::kLie || (heard == Heard::kRepeat && runner_is_done)) return false;
  if (heard == Heard::kRepeat) return true;
  if (!event->last) {
    record->sink->on_finished(*event);
    return true;
  }
  auto* sink = record->sink;
  record->state = cell.next;
  complete(*record, runner_is_done, EndKind::kFinished);
  sink->on_finished(*event);
  return true;
}

bool Service::on_failed(Runner& runner, std::span<const std::byte> body) {
  const auto event = ipc::Failed::decode(body);
  if (!event) return false;
  auto* record = find(runner, event->request);
  if (record == nullptr) {
    acknowledge(runner, event->request);
    return true;
  }
  const auto cell = request_cell(record->state, RequestEvent::kFail);
  if (cell.rule == RequestRule::kImpossible) return false;
  const bool by_file = event->code == Code::kBadModelFile;  // the model was good when it was loaded
  const bool by_rank = event->code == Code::kRunnerLost && runner.link->has_lost_a_rank();
  if (cell.rule == RequestRule::kTell && (by_file || by_rank || event->code == Code::kDeviceFault)) {
    // The runner ends now, and the request goes the way of all that a dead runner had.
    spdlog::error("runner {} (pid {}): {}", runner.link->id(), runner.link->pid(), event->message);
    record->trouble = by_file   ? "the model's file changed while it was served"
                      : by_rank ? "its runner lost a rank again"
                                : "its device failed again";
    runner.link->expect_end();
    return true;
  }
  if (cell.rule == RequestRule::kTell && event->code == Code::kShuttingDown && !runners_stopping_) {
    // Only the runner shuts down, not we: another one, or the next one, serves the request.
    acknowledge(runner, event->request);
    runner.link->expect_end();
    replay_or_lose(*record, Blame::kNobody, false, "its runner shuts down");
    return true;
  }
  auto* sink = record->sink;
  record->model_failed = error_row(event->code).http_status >= 500;
  if (cell.rule == RequestRule::kTell) {
    note(*record, TraceKind::kFailed, record->progress.generated_tokens(),
         std::string(error_row(event->code).name));
  }
  complete(*record, true, cell.rule == RequestRule::kTell ? EndKind::kFailed : EndKind::kCancelled);
  if (cell.rule == RequestRule::kTell) sink->on_failed({event->code, told_text(runner, event->message)});
  return true;
}

// Clients learn the model file's name and not where this host keeps it.
std::string Service::told_text(const Runner& runner, const std::string& text) const {
  const std::string& path = runner.link->model().path;
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  if (directory.size() <= 1) return text;
  std::string told;
  size_t from = 0;
  for (size_t at = text.find(directory); at != std::string::npos; at = text.find(directory, from)) {
    told.append(text, from, at - from);
    from = at + directory.size();
  }
  return told.append(text, from);
}

bool Service::on_answer(Runner& runner, std::span<const std::byte> body) {
  auto answer = ipc::Answer::decode(body);
  if (!answer) return false;
  const auto found = queries_.find(answer->query);
  if (found == queries_.end() || found->second.runner != &runner) return true;  // dropped meanwhile
  const auto done = std::move(found->second.done);
  queries_.erase(found);
  if (answer->failed) {
    done(fail(answer->code, "{}", told_text(runner, answer->text)));
  } else {
    done(std::move(*answer));
  }
  return true;
}

void Service::acknowledge(Runner& runner, RequestId id) {
  runner.link->send_surely(ipc::MessageType::kAcknowledge, ipc::Acknowledge{id}.encode());
}

// Its terminal outcome is here. A runner that still works on choices that had ended before a replay is told
// to stop.
void Service::complete(Record& record, bool runner_is_done, EndKind how) {
  if (runner_is_done) {
    acknowledge(*record.runner, record.id);
  } else {
    record.runner->link->send_surely(ipc::MessageType::kCancel, ipc::Cancel{record.id}.encode());
  }
  erase(record, how);
}

}  // namespace deepserve::daemon
