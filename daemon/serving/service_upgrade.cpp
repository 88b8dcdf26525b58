// From one dsd to the next in the same process (DESIGN 10): what the runners do not have.
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "daemon/serving/caller.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// Beside its tokens: no other runner tells that again (DESIGN 6.5).
bool tells_more_than_tokens(const ipc::Generation& generation) {
  return generation.echo || generation.logprobs != ipc::kNoLogprobs;
}

Result<KeptRequest> read_kept(std::span<const std::byte> submitted) {
  TRY_ASSIGN(auto submit, ipc::Submit::decode(submitted));
  return decode_kept(std::move(submit));
}

}  // namespace

std::string Service::stays() {
  if (!queries_.empty()) return "a question to a runner";
  if (!late_.empty() || !actions_.empty()) return "an answer that is about to be told";
  if (gpus_.speaks()) return "a word to an MPS daemon";
  for (uint32_t model = 0; model < served_.size(); ++model) {
    if (served_[model]->rollout.busy()) return "an order for model " + served_[model]->config.name;
  }
  if (!generations_kept_) (void)keep_generations();
  if (!generations_kept_) return "which generation of a model serves, which cannot be written to its file,";
  for (const auto& runner : runners_) {
    auto& link = *runner->link;
    link.publish();
    if (!runner->requests.empty() && !link.has_room()) return "what runner " + link.id() + " has not read";
  }
  for (const auto& [id, record] : records_) {
    if (record->state == RequestState::kQueued && record->progress.accepted()) {
      return fmt::format("request {:016x}, which waits for another runner,", id);
    }
    // The answer would end here.
    if (tells_more_than_tokens(record->spec.generation) && record->progress.replays() > 0) {
      return fmt::format("request {:016x}, which began at a runner that has died,", id);
    }
  }
  return {};
}

std::vector<std::vector<std::byte>> Service::hand_over() const {
  std::vector<const Record*> waiting;
  for (const auto& [id, record] : records_) {
    if (record->state == RequestState::kQueued && !record->progress.accepted())
      waiting.push_back(record.get());
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const Record* left, const Record* right) { return left->id < right->id; });
  std::vector<std::vector<std::byte>> submits;
  for (const Record* record : waiting) submits.push_back(submit_of(*record).encode());
  return submits;
}

std::vector<Service::RunningRequest> Service::running() const {
  std::vector<RunningRequest> running;
  for (const auto& [id, record] : records_) {
    if (record->runner == nullptr || record->sink == nullptr || record->is_copy) continue;
    RunningRequest one{
        id, record->runner->link->id(), std::nullopt, {}, !tells_more_than_tokens(record->spec.generation)};
    if (record->progress.accepted())
      one.accepted = {id, record->progress.prompt_tokens(), record->cached_tokens};
    auto submit = submit_of(*record);
    if (!one.goes_on) submit.resumed.clear();
    for (auto& choice : submit.resumed) choice.unheard = 0;  // the next dsd has heard nothing of it
    one.submit = submit.encode();
    running.push_back(std::move(one));
  }
  return running;
}

void Service::take_over(std::vector<RunningRequest> running) {
  running_before_ = std::move(running);
  std::sort(running_before_.begin(), running_before_.end(),
            [](const RunningRequest& left, const RunningRequest& right) { return left.id < right.id; });
}

std::optional<Service::RunningRequest> Service::take_running(RequestId id) {
  const auto found = std::find_if(running_before_.begin(), running_before_.end(),
                                  [id](const RunningRequest& one) { return one.id == id; });
  if (found == running_before_.end()) return std::nullopt;
  auto one = std::move(*found);
  running_before_.erase(found);
  return one;
}

// What the dsd before knew of it: its runner, or the next one, tells it again, and may die on the way.
void Service::recall(Record& record, const RunningRequest& before) {
  if (before.goes_on) {
    if (auto kept = read_kept(before.submit)) record.progress.heard_before(std::move(kept->resumed));
  }
  if (!before.accepted) return;
  CHECK(record.progress.on_accepted(*before.accepted) == Heard::kNews);
  if (!record.fallback.degraded.how.empty()) record.sink->on_degraded(record.fallback.degraded);
  tell_admission(record, *before.accepted);
  record.sink->on_accepted(*before.accepted);
}

// What a runner had that did not live to tell of it goes to another one, which goes on behind what was told.
// What begins anew has to say the same, since its client knows the first of it: the generation that it began
// with does, and only where a replay is exact. Other words behind those that were told would make no sense,
// and nobody would see.
void Service::begin_again(Runner& runner) {
  const auto first_lost =
      std::stable_partition(running_before_.begin(), running_before_.end(),
                            [&](const RunningRequest& one) { return one.runner != runner.link->id(); });
  const std::vector<RunningRequest> lost(std::make_move_iterator(first_lost),
                                         std::make_move_iterator(running_before_.end()));
  running_before_.erase(first_lost, running_before_.end());
  for (const auto& one : lost) {
    auto kept = read_kept(one.submit);
    const bool repeats = one.accepted && !one.goes_on;
    if (!kept || kept->id != one.id || records_.contains(one.id) || (repeats && !is_wanted(runner))) {
      spdlog::error("a request that runner {} had is lost: {}", one.runner,
                    kept ? "its generation is gone, or its number is another one's" : kept.error().message);
      continue;
    }
    auto& record = adopt(runner, std::move(*kept));
    if (record.sink == nullptr) {
      erase(record);
      continue;
    }
    recall(record, one);
    if (one.accepted) record.state = request_cell(record.state, RequestEvent::kAccept).next;
    const std::string why = "its runner did not outlive an upgrade of dsd";
    if (repeats && !replays_exactly(*runner.settings)) {
      lose(record, why + ", and model.deterministic = false does not say the same again");
      continue;
    }
    replay_or_lose(record, Blame::kNobody, false, why);
  }
}

// Once all is told that will be.
void Service::forget_running() {
  if (running_before_.empty() || may_hear_of_more()) return;
  for (const auto& one : std::exchange(running_before_, {}))
    spdlog::error("request {:016x} is lost: runner {}, which had it, did not tell of it", one.id, one.runner);
}

std::vector<Service::RunnerPast> Service::pasts() const {
  std::vector<RunnerPast> pasts;
  for (const auto& runner : runners_) {
    const auto& link = *runner->link;
    RunnerPast past{link.id(), {}, link.supervision().record()};
    for (uint32_t rank = 0; rank < link.devices().size(); ++rank) {
      if (const pid_t pid = link.pid_of(rank); pid > 0) past.pids.push_back(pid);
    }
    pasts.push_back(std::move(past));
  }
  return pasts;
}

Service::DrainedNames Service::drained() const {
  DrainedNames names;
  names.host = drains_.host();
  for (uint32_t model = 0; model < served_.size(); ++model) {
    if (drains_.model(model)) names.models.push_back(served_[model]->config.name);
  }
  for (const auto& runner : runners_) {
    if (drains_.runner(runner->link->id())) names.runners.push_back(runner->link->id());
  }
  names.gpus = gpus_.drained();
  return names;
}

std::vector<std::byte> Service::bookings() const {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  admission_.bookings().encode(out);
  return bytes;
}

Result<void> Service::take_over_bookings(std::span<const std::byte> bookings) {
  ByteReader in(bookings);
  admission_.take_over_bookings(in, monotonic_ns());
  if (!in.ok()) return fail(Code::kIo, "the bookings of the dsd before are malformed");
  return {};
}

void Service::take_over(const DrainedNames& drained) {
  drains_.mark_host(drained.host);
  for (const auto& name : drained.models) {
    if (const auto model = known_model(name)) drains_.mark_model(*model, true);
  }
  for (const auto& id : drained.runners) drains_.mark_runner(id, true);
  for (const auto& gpu : drained.gpus) gpus_.drain(gpu);
}

void Service::take_over(const std::vector<RunnerPast>& pasts) {
  for (const auto& past : pasts) {
    strays_.insert(strays_.end(), past.pids.begin(), past.pids.end());
    for (auto& runner : runners_) {
      if (runner->link->id() == past.id) runner->link->resume(past.record);
    }
  }
}

// Those that died while nobody watched, or were ended here because nobody wanted them. The others are their
// runners' business.
void Service::reap_strays() {
  if (strays_.empty() || (adoption_ != nullptr && !adoption_->over())) return;
  std::erase_if(strays_, [this](int64_t pid) {
    for (const auto& runner : runners_) {
      for (uint32_t rank = 0; rank < runner->link->devices().size(); ++rank) {
        if (runner->link->pid_of(rank) == pid) return true;
      }
    }
    siginfo_t ended{};
    const int found = ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG);
    return found != 0 || ended.si_pid != 0;
  });
}

void Service::take_over(const std::vector<std::vector<std::byte>>& submits) {
  for (const auto& body : submits) {
    auto kept = read_kept(body);
    auto model = kept ? find_model(kept->spec.model) : std::nullopt;
    if (kept && !model) model = known_model(kept->spec.model);
    if (!model || kept->id == 0 || records_.contains(kept->id)) {
      spdlog::error("a request that waited is lost: {}", kept ? "its model is gone" : kept.error().message);
      continue;
    }
    const RequestId id = kept->id;
    const auto match = match_client(config_, caller_of(kept->spec.peer));
    const RequestProgress progress(kept->spec.work, kept->spec.generation);
    Fallback fallback;
    fallback.degraded = std::move(kept->degraded);
    auto record = std::make_unique<Record>(
        Record{id, std::move(kept->spec), *model, live_line(*model), kept->arrived_ns, kept->deadline_ns,
               nullptr, RequestState::kQueued, nullptr, progress, true, false, "", std::move(fallback)});
    record->sink = options_.adopt ? options_.adopt(id, record->spec) : nullptr;
    if (record->sink == nullptr) continue;
    auto arrived = arrival_of(*record, match, body.size());
    arrived.deadline_ns = record->deadline_ns;
    arrived.whole = 0;
    arrived.whole_parts = 1;
    begin_trace(*record);
    note(*record, TraceKind::kAdopted);
    records_.emplace(id, std::move(record));
    tell(TakenOver{std::move(arrived)});
  }
}

}  // namespace deepserve::daemon
