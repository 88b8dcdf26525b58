#include "daemon/admission/admission.h"

#include <algorithm>
#include <limits>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint32_t kContextUnknown = 1u << 20;
// Of a piece of a prompt, about.
constexpr auto kPieceTokens = static_cast<uint64_t>(TokenRatio::kUnknown * PromptPrefix::kPieceBytes);

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
      runners_(options.runners),
      prefixes_(options.runners),
      ladder_(options.brownout) {}

void Admission::reconfigure(const AdmissionOptions& options) {
  CHECK(options.models >= options_.models);
  options_.models = options.models;
  queue_.grow(options.models);
  desk_.grow(options.models);
  outputs_.grow(options.models);
  models_.resize(options.models);
  options_.classes = options.classes;
  options_.brownout = options.brownout;
  queue_.set_limits(limits_of(options));
  ladder_.set_steps(options.brownout);
}

uint64_t Admission::advance(uint64_t now_ns) {
  return clock_.advance(now_ns);
}

Admission::Request Admission::make_request(const Arrived& event, uint64_t now_ns) const {
  CHECK(event.model < options_.models && event.choices > 0 && event.client_weight > 0);
  const auto& model = models_[event.model];
  const auto& of_class = options_.classes[static_cast<size_t>(event.service_class)];
  const uint32_t context = model.time.context_tokens() != 0 ? model.time.context_tokens() : kContextUnknown;
  Request request;
  request.model = event.model;
  request.client = event.client;
  request.client_hash = short_hash(event.client);
  request.client_weight = event.client_weight;
  request.tokens_max_asked = event.tokens_max;
  request.prompt_bytes = event.prompt_bytes;
  request.bytes = event.bytes;
  request.body_hash = event.body_hash;
  request.body_bytes = event.body_bytes;
  request.any_model = event.any_model;
  request.any_class = event.any_class;
  request.rules = event.rules;
  request.arrived_ns = now_ns;
  request.deadline_named = event.deadline_ns != 0;
  request.deadline_ns =
      request.deadline_named ? clock_.of_reading(event.deadline_ns) : now_ns + of_class.deadline_ns;
  auto& load = request.load;
  load.service_class = event.service_class;
  load.choices = event.choices;
  const uint32_t prompt =
      event.prompt_tokens != 0 ? event.prompt_tokens : model.ratio.tokens(event.prompt_bytes);
  load.prompt_tokens = std::clamp(prompt, 1u, context);
  request.prefix = event.prefix;
  load.uncached_tokens = least_uncached_tokens(request);
  request.tokens_max = std::min(event.tokens_max, context - load.prompt_tokens);
  load.expected_tokens = outputs_.expect(event.model, event.client, request.tokens_max, kPeakQuantile);
  const uint32_t output = outputs_.expect(event.model, event.client, request.tokens_max, kExpectedQuantile);
  request.counted_tokens = uint64_t{load.prompt_tokens} + uint64_t{output} * load.choices;
  if (!request.deadline_named) {
    // Who names no deadline is not refused for ever for one that even an idle host would miss.
    const double idle_s = kIdleStretch * model.time.prefill_seconds(load.uncached_tokens);
    request.deadline_ns = std::max(request.deadline_ns, now_ns + static_cast<uint64_t>(idle_s * 1e9));
  }
  load.deadline_ns = request.deadline_ns;
  request.cost =
      model.time.cost({load.prompt_tokens, load.uncached_tokens, output * load.choices, load.choices});
  request.whole = event.whole;
  request.whole_cost = request.cost;
  request.whole_tokens = request.counted_tokens;
  if (event.whole != 0) {
    const uint32_t tokens = std::max(load.prompt_tokens, model.ratio.tokens(event.whole_prompt_bytes));
    const uint32_t choices = load.choices * event.whole_parts;
    request.whole_cost = model.time.cost({tokens, tokens, output * choices, choices});
    request.whole_tokens = uint64_t{tokens} + uint64_t{output} * choices;
  }
  return request;
}

void Admission::step(const Arrived& event, uint64_t now_ns, AdmissionActions& actions) {
  CHECK(!requests_.contains(event.request));
  now_ns = advance(now_ns);
  shed_expired(now_ns, actions);
  auto request = make_request(event, now_ns);
  // Of a request that comes in parts the first one is asked; the others hear the same.
  if (const auto* said = wholes_.find(event.whole)) {
    if (said->denial) return deny(event.request, request, *said->denial, actions);
    if (said->refused) return refuse(event.request, std::move(request), *said->refused, now_ns, actions);
    request.back = said->back;
  } else {
    request.back = desk_.redeem(claimant_of(request), event.ticket, now_ns);
  }
  request.booked = request.back.outcome == TicketOutcome::kOnTime;
  if (wholes_.find(event.whole) == nullptr) {
    if (const auto denial = ask_client(request, event.is_retry, now_ns)) {
      return deny(event.request, request, *denial, actions);
    }
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
  wholes_.note(request.whole, {std::nullopt, std::nullopt, request.back});
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
  learn_prefix(request, event);
  load.prompt_tokens = std::max(1u, event.prompt_tokens);
  load.uncached_tokens = load.prompt_tokens - std::min(load.prompt_tokens, event.cached_tokens);
  models_[request.model].ratio.add(request.prompt_bytes, event.prompt_tokens);
}

void Admission::step(const FirstToken& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  if (request.runner) hear_suspect(event.request, request, 1);
  if (request.load.prefilled || !request.runner) return;
  request.load.prefilled = true;
  request.load.generated_tokens = std::max(1u, request.load.generated_tokens);
  runners_[*request.runner].prefilled(request.load, now_ns);
  prefixes_[*request.runner].add(request.prefix.pieces);
  count_done(request);
  learn_start(request, now_ns);
  pump(request.model, now_ns, actions);
}

// What it has cost so far, less what was counted of it: all that is counted of it adds up to its cost.
void Admission::count_done(Request& request) {
  auto& model = models_[request.model];
  const auto& load = request.load;
  const double cost =
      model.time.cost({load.prompt_tokens, load.uncached_tokens, load.generated_tokens, load.choices});
  model.throughput.done(std::max(0.0, cost - request.done));
  request.done = std::max(request.done, cost);
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

void Admission::step(const TokensCame& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  auto& load = request.load;
  load.generated_tokens += event.count;
  count_done(request);
  if (request.suspect && request.runner) {
    hear_suspect(event.request, request, event.count);
    if (!request.suspect) pump(request.model, now_ns, actions);
  }
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
  models_[model].trial.leave(event.request);
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
  if (!request.charged_in) return;
  RequestWork work{load.prompt_tokens, load.uncached_tokens, load.generated_tokens, load.choices};
  if (how != EndKind::kFinished && !load.prefilled) work.uncached_tokens = 0;
  const double more = model.time.cost(work) - request.price;
  queue_.settle(*request.charged_in, load.service_class, request.client, more);
  models_[*request.charged_in].usage.add(load.service_class, more, now_ns);
}

void Admission::step(const Returned& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  CHECK(request.runner);
  leave_runner(request);
  request.returned = true;
  request.accepted = event.accepted;
  request.load.prefilled = false;
  // One that was on trial when its runner went is still to be tried, whoever is to blame.
  const bool was_tried = request.suspect;
  request.suspect = request.suspect || event.suspect;
  auto& trial = models_[request.model].trial;
  trial.leave(event.request);
  if (request.suspect) trial.wait(event.request, now_ns);
  auto waiting = waiting_of(event.request, request, event.accepted || request.held ? 0 : request.deadline_ns);
  waiting.first = was_tried;
  queue_.push_replay(waiting);
  shed_expired(now_ns, actions);
  pump(request.model, now_ns, actions);
}

void Admission::step(const TakenOver& event, uint64_t now_ns, AdmissionActions& actions) {
  const Arrived& arrived = event.arrived;
  CHECK(!requests_.contains(arrived.request));
  now_ns = advance(now_ns);
  auto request = make_request(arrived, now_ns);
  if (!queue_.push(waiting_of(arrived.request, request, std::max(request.deadline_ns, now_ns)))) {
    return refuse(arrived.request, std::move(request), RefusalReason::kQueueFull, now_ns, actions);
  }
  request.counted = true;
  clients_.begin(request.client, request.rules, request.counted_tokens, now_ns);
  requests_.emplace(arrived.request, std::move(request));
  pump(arrived.model, now_ns, actions);
}

void Admission::step(const Adopted& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  const auto& arrived = event.arrived;
  CHECK(!requests_.contains(arrived.request));
  now_ns = advance(now_ns);
  auto& request = requests_.emplace(arrived.request, make_request(arrived, now_ns)).first->second;
  request.returned = true;
  request.done = std::numeric_limits<double>::max();  // of its tokens most were not made now
  request.counted = true;
  clients_.begin(request.client, request.rules, request.counted_tokens, now_ns);
  request.dispatched_ns = now_ns;
  request.runner = event.runner;
  book_of(event.runner).add(request.load, now_ns);
}

// Also of one that was never up: what an earlier daemon left may only end what it has.
RunnerBook& Admission::book_of(uint32_t runner) {
  CHECK(runner < kRunnersMax);
  if (runner >= runners_.size()) {
    runners_.resize(runner + 1);
    prefixes_.resize(runner + 1);
  }
  return runners_[runner];
}

void Admission::step(const RunnerUp& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  CHECK(event.model < options_.models);
  auto& runner = book_of(event.runner);
  runner.up(event);
  const uint64_t kv_tokens = runner.service_time().kv_tokens();
  prefixes_[event.runner].reset(kv_tokens == 0 ? PrefixIndex::kPiecesMax : kv_tokens / kPieceTokens);
  auto& model = models_[event.model];
  share_speed(event.model);
  if (!model.time.known()) model.time = runner.service_time();
  pump(event.model, now_ns, actions);
}

void Admission::step(const RunnerTold& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& runner = runners_.at(event.runner);
  if (!runner.is_up()) return;
  runner.told(event);
  share_speed(runner.model());
  auto& model = models_[runner.model()];
  if (model.speed.knows_prefill()) {
    model.time = runner.service_time();
    model.time.set(model.speed);
  }
  pump(runner.model(), now_ns, actions);
}

void Admission::share_speed(uint32_t model) {
  SpeedMean mean;
  for (const auto& runner : runners_) {
    if (runner.is_up() && runner.model() == model) mean.add(runner.measured());
  }
  auto& speed = models_[model].speed;
  speed = mean.mean(speed);
  for (auto& runner : runners_) {
    if (runner.is_up() && runner.model() == model) runner.share(speed);
  }
}

void Admission::step(const RunnerDown& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  now_ns = advance(now_ns);
  auto& runner = runners_.at(event.runner);
  models_[runner.model()].trial.runner_down(event.runner);
  runner.down();
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
  waiting.suspect = request.suspect;
  return waiting;
}

}  // namespace deepserve::daemon
