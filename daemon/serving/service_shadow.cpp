// Copies of requests that have ended, for a shadow: its answers are compared with those that the clients got,
// and thrown away.
//
// A copy starts once its original has ended, so that it is never in that one's way, and only while nobody
// waits for the model. It is of class batch, of no client, and does not survive this dsd.
#include <algorithm>

#include "daemon/serving/kept_request.h"
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kCopiesMax = 64;  // at once, over all models
constexpr std::string_view kClient = "(shadow)";

AnswerTokens answer_of(const RequestProgress& progress, const ipc::Generation& generation) {
  AnswerTokens answer(std::max<uint32_t>(1, generation.choices));
  for (auto& choice : progress.resumed()) answer.at(choice.choice) = std::move(choice.tokens);
  return answer;
}

RequestSpec copied(RequestSpec spec) {
  RequestSpec copy;
  copy.client = kClient;
  copy.endpoint = std::move(spec.endpoint);
  copy.service_class = ipc::Class::kBatch;
  copy.model = std::move(spec.model);
  copy.prompt = std::move(spec.prompt);
  copy.generation = std::move(spec.generation);
  copy.prompt_bytes = spec.prompt_bytes;
  return copy;
}

}  // namespace

// Of one that has ended well: whether a copy is to be made of it.
bool Service::is_mirrored(const Record& record) const {
  const auto& rollout = served_[record.model]->rollout;
  return rollout.shadow_percent() > 0 && record.line == live_line(record.model) &&
         record.spec.work == ipc::Work::kGenerate && record.tried == rollout.canary_number() &&
         canary_part(record.spec) * 100 < rollout.shadow_percent();
}

// The record is about to go: what it asked for is taken.
void Service::mirror(Record& record) {
  auto original = std::make_shared<AnswerTokens>(answer_of(record.progress, record.spec.generation));
  auto spec = std::make_shared<RequestSpec>(copied(std::move(record.spec)));
  loop_.defer([this, model = record.model, original, spec] {
    start_copy(model, std::move(*spec), std::move(*original));
  });
}

void Service::start_copy(uint32_t model, RequestSpec spec, AnswerTokens original) {
  auto& served = *served_[model];
  if (stopping_ || !served.shadow || served.rollout.shadow_percent() == 0) return;
  const bool is_drained = drained_refusal(model, spec.service_class).has_value();
  if (is_drained || copies_.size() >= kCopiesMax || !admission_.waiting_for(live_line(model)).empty())
    return served.shadow->skipped();
  while (records_.contains(next_id_)) ++next_id_;
  const RequestId id = next_id_++;
  auto copy = std::make_unique<ShadowCopy>(
      std::move(original),
      [this, id](const ShadowCopy& ended, ShadowCopy::End how) { end_copy(id, ended, how); });
  const uint64_t now_ns = monotonic_ns();
  const uint64_t deadline_ns = now_ns + config_.classes[static_cast<size_t>(spec.service_class)].deadline_ns;
  const RequestProgress progress(spec.work, spec.generation);
  auto record = std::make_unique<Record>(Record{id, std::move(spec), model, canary_line(model), now_ns,
                                                deadline_ns, copy.get(), RequestState::kQueued, nullptr,
                                                progress, true, false, "", Fallback()});
  record->tried = served.rollout.canary_number();
  record->is_copy = true;
  copies_.emplace(id, Copy{model, std::move(copy)});
  begin_trace(*record);
  const auto arrived = arrival_of(*record, ClientMatch(), submit_bytes(record->spec));
  records_.emplace(id, std::move(record));
  tell(arrived);
  act();
}

void Service::end_copy(RequestId id, const ShadowCopy& copy, ShadowCopy::End how) {
  auto& tally = served_[copies_.at(id).model]->shadow;
  if (how == ShadowCopy::End::kAnswered) {
    tally->compare(copy.original(), copy.answer());
  } else if (how == ShadowCopy::End::kFailed) {
    tally->failed();
  } else {
    tally->skipped();
  }
  loop_.defer([this, id] { copies_.erase(id); });
}

// The shadow is none any more, or dsd is to end: nobody waits for them.
void Service::forget_copies(uint32_t model) {
  std::vector<RequestId> ids;
  for (const auto& [id, copy] : copies_) {
    if (copy.model == model) ids.push_back(id);
  }
  for (const RequestId id : ids) {
    forget(id);
    copies_.erase(id);
  }
}

}  // namespace deepserve::daemon
