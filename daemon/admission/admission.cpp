#include "daemon/admission/admission.h"

#include <algorithm>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint32_t kContextUnknown = 1u << 20;

ClassQueue::Limits limits_of(const AdmissionOptions& options) {
  ClassQueue::Limits limits;
  for (size_t i = 0; i < limits.size(); ++i) {
    limits[i] = {options.classes[i].share, options.classes[i].waiting_max};
  }
  return limits;
}

double seconds_between(uint64_t from_ns, uint64_t to_ns) {
  return static_cast<double>(to_ns - std::min(from_ns, to_ns)) * 1e-9;
}

}  // namespace

Admission::Admission(const AdmissionOptions& options)
    : options_(options),
      queue_(limits_of(options), options.models, options.bytes_max),
      desk_(options.models, options.ticket_key, options.ticket_epoch, options.first_booking),
      outputs_(options.models),
      models_(options.models),
      runners_(options.runners) {}

uint64_t Admission::advance(uint64_t now_ns) {
  now_ns_ = std::max(now_ns_, now_ns);
  return now_ns_;
}

Admission::Request Admission::make_request(const Arrived& event, uint64_t now_ns) const {
  CHECK(event.model < options_.models && event.choices > 0 && event.client_weight > 0);
  const auto& model = models_[event.model];
  const auto& of_class = options_.classes[static_cast<size_t>(event.service_class)];
  const uint32_t context = model.time.context_tokens() != 0 ? model.time.context_tokens() : kContextUnknown;
  Request request;
  request.model = event.model;
  request.client = event.client;
  request.client_weight = event.client_weight;
  request.tokens_max_asked = event.tokens_max;
  request.prompt_bytes = event.prompt_bytes;
  request.bytes = event.bytes;
  request.body_hash = event.body_hash;
  request.body_bytes = event.body_bytes;
  request.rules = event.rules;
  request.arrived_ns = now_ns;
  request.deadline_named = event.deadline_ns != 0;
  request.deadline_ns = request.deadline_named ? event.deadline_ns : now_ns + of_class.deadline_ns;
  auto& load = request.load;
  load.service_class = event.service_class;
  load.choices = event.choices;
  const uint32_t prompt =
      event.prompt_tokens != 0 ? event.prompt_tokens : model.ratio.tokens(event.prompt_bytes);
  load.prompt_tokens = std::clamp(prompt, 1u, context);
  load.uncached_tokens = load.prompt_tokens;
  request.tokens_max = std::min(event.tokens_max, context - load.prompt_tokens);
  load.expected_tokens = outputs_.expect(event.model, event.client, request.tokens_max, kPeakQuantile);
  const uint32_t output = outputs_.expect(event.model, event.client, request.tokens_max, kExpectedQuantile);
  request.counted_tokens = uint64_t{load.prompt_tokens} + uint64_t{output} * load.choices;
  if (!request.deadline_named) {
    // Who names no deadline is not refused for ever for one that even an idle host would miss.
    const double idle_s = kIdleStretch * model.time.prefill_seconds(load.uncached_tokens);
    request.deadline_ns = std::max(request.deadline_ns, now_ns + static_cast<uint64_t>(idle_s * 1e9));
  }
  request.cost =
      model.time.cost({load.prompt_tokens, load.uncached_tokens, output * load.choices, load.choices});
  return request;
}

void Admission::step(const Arrived& event, uint64_t now_ns, AdmissionActions& actions) {
  CHECK(!requests_.contains(event.request));
  now_ns = advance(now_ns);
  shed_expired(now_ns, actions);
  auto request = make_request(event, now_ns);
  request.back = desk_.redeem(claimant_of(request), event.ticket, now_ns);
  request.booked = request.back.outcome == TicketOutcome::kOnTime;
  if (const auto denial = ask_client(request, event.is_retry, now_ns)) {
    return deny(event.request, request, *denial, actions);
  }
  if (ladder_.level() == BrownoutLevel::kVipOnly && event.service_class != ipc::Class::kVip) {
    return refuse(event.request, std::move(request), RefusalReason::kBrownout, now_ns, actions);
  }
  const auto predicted = predict(request, now_ns);
  if (predicted) request.predicted = *predicted;
  const double left_s = seconds_between(now_ns, request.deadline_ns);
  if (predicted && !request.booked && predicted->to_admit_by_s() > left_s) {
    return refuse(event.request, std::move(request), RefusalReason::kDeadline, now_ns, actions);
  }
  // It is of no use to wait until there is no time left for the prompt itself.
  const double prefill_s = 0.8 * models_[event.model].time.prefill_seconds(request.load.uncached_tokens);
  const auto prefill_ns = static_cast<uint64_t>(prefill_s * 1e9);
  const uint64_t latest_ns = request.deadline_ns - std::min(request.deadline_ns, prefill_ns);
  if (!queue_.push(waiting_of(event.request, request, std::max(latest_ns, now_ns)))) {
    return refuse(event.request, std::move(request), RefusalReason::kQueueFull, now_ns, actions);
  }
  if (request.back.outcome == TicketOutcome::kEarly) desk_.release(request.back.serial);
  request.counted = true;
  clients_.begin(request.client, request.rules, request.counted_tokens, now_ns);
  requests_.emplace(event.request, std::move(request));
  pump(event.model, now_ns, actions);
}

void Admission::step(const Accepted& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
  auto& request = requests_.at(event.request);
  request.accepted = true;
  auto& load = request.load;
  load.prompt_tokens = std::max(1u, event.prompt_tokens);
  load.uncached_tokens = load.prompt_tokens - std::min(load.prompt_tokens, event.cached_tokens);
  models_[request.model].ratio.add(request.prompt_bytes, event.prompt_tokens);
}

void Admission::step(const FirstToken& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  if (request.load.prefilled || !request.runner) return;
  request.load.prefilled = true;
  request.load.generated_tokens = std::max(1u, request.load.generated_tokens);
  runners_[*request.runner].prefilled(request.load, now_ns);
  auto& model = models_[request.model];
  model.throughput.done(model.time.cost({request.load.prompt_tokens, request.load.uncached_tokens, 1, 1}));
  learn_start(request, now_ns);
  pump(request.model, now_ns, actions);
}

void Admission::learn_start(Request& request, uint64_t now_ns) {
  if (request.returned) return;
  auto& ttft = models_[request.model].ttft;
  const auto service_class = request.load.service_class;
  if (request.start.stretched_s > 0) {
    ttft.dispatched(service_class, request.start, seconds_between(request.dispatched_ns, now_ns));
  }
  if (request.predicted.stretched_s > 0) {
    ttft.arrived(service_class, request.predicted, seconds_between(request.arrived_ns, now_ns));
  }
}

void Admission::step(const TokensCame& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
  auto& request = requests_.at(event.request);
  auto& load = request.load;
  load.generated_tokens += event.count;
  auto& model = models_[request.model];
  model.throughput.done(model.time.cost({load.prompt_tokens, 0, event.count, 1}));
  if (load.generated_each() < load.expected_tokens) return;
  load.expected_tokens = outputs_.expect(request.model, request.client, request.tokens_max, kPeakQuantile,
                                         load.generated_each());
}

void Admission::step(const Ended& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  const auto found = requests_.find(event.request);
  if (found == requests_.end()) return;  // it was refused meanwhile
  auto& request = found->second;
  const uint32_t model = request.model;
  request.load.generated_tokens = std::max(request.load.generated_tokens, event.completion_tokens);
  queue_.remove(event.request);
  settle(request, event.how, now_ns);
  leave_runner(request);
  requests_.erase(found);
  shed_expired(now_ns, actions);
  pump(model, now_ns, actions);
}

// The charge becomes the truth; what the answer's length says is learnt.
void Admission::settle(Request& request, EndKind how, uint64_t now_ns) {
  auto& model = models_[request.model];
  const auto& load = request.load;
  if (how == EndKind::kFinished && request.tokens_max_asked != 0 && !request.capped) {
    outputs_.add(request.model, request.client, load.generated_each());
  }
  if (request.counted) {
    const uint64_t used = load.prefilled ? uint64_t{load.prompt_tokens} + load.generated_tokens : 0;
    clients_.end(request.client, request.rules, request.counted_tokens, used,
                 now_ns - std::min(now_ns, request.arrived_ns), now_ns);
  }
  if (!request.charged) return;
  RequestWork work{load.prompt_tokens, load.uncached_tokens, load.generated_tokens, load.choices};
  if (how != EndKind::kFinished && !load.prefilled) work.uncached_tokens = 0;
  const double more = model.time.cost(work) - request.price;
  queue_.settle(request.model, load.service_class, request.client, more);
  model.usage.add(load.service_class, more, now_ns);
}

void Admission::step(const Returned& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  CHECK(request.runner);
  leave_runner(request);
  request.returned = true;
  request.accepted = event.accepted;
  request.load.prefilled = false;
  queue_.push_replay(waiting_of(event.request, request, event.accepted ? 0 : request.deadline_ns));
  shed_expired(now_ns, actions);
  pump(request.model, now_ns, actions);
}

void Admission::step(const RunnerUp& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  CHECK(event.model < options_.models);
  auto& runner = runners_.at(event.runner);
  runner.up(event, static_cast<double>(options_.step_max_ns) * 1e-9);
  auto& model = models_[event.model];
  if (!model.time.known()) model.time = runner.service_time();
  pump(event.model, now_ns, actions);
}

void Admission::step(const RunnerTold& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& runner = runners_.at(event.runner);
  if (!runner.is_up()) return;
  runner.told(event);
  if (runner.service_time().known()) models_[runner.model()].time = runner.service_time();
  pump(runner.model(), now_ns, actions);
}

void Admission::step(const RunnerDown& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
  runners_.at(event.runner).down();
}

void Admission::step(const Tick& /*event*/, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  shed_expired(now_ns, actions);
  desk_.tick(now_ns);
  step_ladder(now_ns, actions);
  for (uint32_t model = 0; model < options_.models; ++model) pump(model, now_ns, actions);
}

WaitingRequest Admission::waiting_of(ipc::RequestId id, const Request& request, uint64_t expires_ns) const {
  WaitingRequest waiting;
  waiting.request = id;
  waiting.service_class = request.load.service_class;
  waiting.model = request.model;
  waiting.client = request.client;
  waiting.client_weight = request.client_weight;
  waiting.expires_ns = expires_ns;
  waiting.bytes = request.bytes;
  waiting.cost = request.cost;
  waiting.booked = request.booked;
  return waiting;
}

}  // namespace deepserve::daemon
