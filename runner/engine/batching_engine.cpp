#include "runner/engine/batching_engine.h"

#include <algorithm>
#include <limits>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::runner {
namespace {

#ifdef NDEBUG
constexpr bool kDebugBuild = false;
#else
constexpr bool kDebugBuild = true;
#endif

}  // namespace

Result<std::unique_ptr<Engine>> Engine::make(Backend& backend, const Tokenizer& tokenizer,
                                             const Result<ChatTemplate>& chat, const EngineOptions& options,
                                             EventSink& sink) {
  const BackendInfo& info = backend.info();
  if (info.blocks == 0 || info.block_tokens == 0 || info.vocabulary == 0 || info.batch_tokens_max == 0) {
    return fail(Code::kOutOfMemory, "the backend has {} KV blocks of {} tokens: no sequence can run",
                info.blocks, info.block_tokens);
  }
  if (options.sequences_max == 0 || options.step_tokens_max == 0) {
    return fail(Code::kInvalidConfig, "sequences_max and step_tokens_max must be at least 1");
  }
  EngineOptions bounded = options;
  if (bounded.context_tokens == 0 || bounded.context_tokens > info.context_tokens_model) {
    bounded.context_tokens = info.context_tokens_model;
  }
  bounded.step_tokens_max = std::min(bounded.step_tokens_max, info.batch_tokens_max);
  bounded.sequences_max = std::min(bounded.sequences_max, bounded.step_tokens_max);
  return std::make_unique<BatchingEngine>(backend, tokenizer, chat, bounded, sink);
}

BatchingEngine::BatchingEngine(Backend& backend, const Tokenizer& tokenizer, const Result<ChatTemplate>& chat,
                               const EngineOptions& options, EventSink& sink)
    : backend_(backend),
      tokenizer_(tokenizer),
      chat_(chat),
      options_(options),
      sink_(sink),
      scheduler_({options.sequences_max, options.step_tokens_max}, backend.info().blocks,
                 backend.info().block_tokens),
      token_bytes_max_(token_bytes_max(tokenizer)) {
  for (TokenId token = 0; token < backend.info().vocabulary; ++token) {
    if (tokenizer.ends_generation(token)) end_tokens_.push_back(token);
  }
}

void BatchingEngine::submit(const ipc::Submit& submit) {
  if (requests_.contains(submit.request)) return;
  const BackendInfo& info = backend_.info();
  const RequestLimits limits{.context_tokens = options_.context_tokens,
                             .vocabulary = info.vocabulary,
                             .kv_blocks = info.blocks,
                             .kv_block_tokens = info.block_tokens,
                             .token_bytes_max = token_bytes_max_};
  auto prepared = prepare(submit, limits, tokenizer_, chat_);
  if (!prepared) {
    sink_.failed({submit.request, prepared.error().code, std::move(prepared.error().message)});
    return;
  }
  auto request = std::make_unique<Request>();
  request->id = submit.request;
  request->generation = submit.generation;
  request->prompt_tokens = static_cast<uint32_t>(prepared->tokens.size());
  request->echo_text = std::move(prepared->echo_text);
  request->submitted_ns = monotonic_ns();
  prompt_tokens_total_ += request->prompt_tokens;
  Request& placed = *requests_.emplace(submit.request, std::move(request)).first->second;
  start_choices(placed, submit, *prepared);
  forget_ended();
}

void BatchingEngine::start_choices(Request& request, const ipc::Submit& submit, PreparedPrompt& prepared) {
  const uint16_t choices = request.generation.choices;
  request.choices_open = choices;
  request.choices.reserve(choices);
  for (uint16_t choice = 0; choice < choices; ++choice) {
    request.choices.push_back(
        Sequence{.request = &request,
                 .priority = {submit.service_class, arrivals_, choice},
                 .tokens = prepared.tokens,
                 .blocks = {},
                 .counts = TokenCounts(request.generation, prepared.tokens),
                 .continuation = Continuation(tokenizer_, request.generation,
                                              std::max(prepared.tokens_limit, 1u), prepared.text_starts)});
  }
  ++arrivals_;
  if (prepared.tokens_limit == 0) {  // nothing to compute: the echo, or nothing, is all of the answer
    accept(request);
    for (auto& sequence : request.choices) {
      tell_delta(sequence, {}, {});
      end_choice(sequence, ipc::FinishReason::kLength);
    }
    return;
  }
  bool resumes = false;
  for (const auto& resumed : submit.resumed) {
    resumes = resumes || !resumed.tokens.empty();
    resume(request.choices[resumed.choice], resumed.tokens);
  }
  // Without resumed tokens the choices begin alike: the first one prefills for all of them.
  for (auto& sequence : request.choices) {
    if (sequence.phase == SequencePhase::kEnded) continue;
    sequence.awaits_leader = !resumes && sequence.priority.choice > 0;
    scheduler_.add(sequence);
  }
}

// Replays what was generated elsewhere: it was told, so nothing is told again, except the end if they had
// come to it.
void BatchingEngine::resume(Sequence& sequence, std::span<const TokenId> tokens) {
  std::string told;
  for (const TokenId token : tokens) {
    sequence.tokens.push_back(token);
    sequence.counts.add_generated(token);
    ++sequence.request->completion_tokens;
    told.clear();
    const auto reason = sequence.continuation.append(token, told);
    if (!reason) continue;
    accept(*sequence.request);
    end_choice(sequence, *reason);
    return;
  }
}

void BatchingEngine::accept(Request& request) {
  if (request.accepted) return;
  request.accepted = true;
  request.scheduled_ns = monotonic_ns();
  sink_.accepted({request.id, request.prompt_tokens, 0});
}

void BatchingEngine::cancel(ipc::RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  for (auto& sequence : found->second->choices) {
    if (sequence.phase != SequencePhase::kEnded) end_choice(sequence, ipc::FinishReason::kCancelled);
  }
  forget_ended();
}

// Of a step. Small until the speed is known: on a slow device one full step may take as long as a hang.
uint32_t BatchingEngine::prefill_tokens_max() const {
  if (options_.prefill_seconds_max <= 0) return options_.step_tokens_max;
  const double affordable = speed_.prefill_tokens_per_second() * options_.prefill_seconds_max;
  if (affordable >= options_.step_tokens_max) return options_.step_tokens_max;
  return std::max(SpeedModel::kPrefillTokensMin, static_cast<uint32_t>(affordable));
}

Result<void> BatchingEngine::step() {
  if (!has_work()) return {};
  scheduler_.plan(prefill_tokens_max(), plan_);
  if (options_.check_blocks || kDebugBuild) scheduler_.check_accounting();
  CHECK(!plan_.chunks.empty());
  for (const auto& chunk : plan_.chunks) accept(*chunk.sequence->request);
  build_batch();
  sink_.model_runs();
  if (auto ran = run_batch(); !ran) {
    for (auto& [id, request] : requests_) fail_request(*request, ran.error());
    forget_ended();
    return ran;
  }
  const size_t vocabulary = backend_.info().vocabulary;
  size_t row = 0;
  for (size_t i = 0; i < plan_.chunks.size(); ++i) {
    Sequence& sequence = *plan_.chunks[i].sequence;
    const std::span<const float> logits(logits_.data() + row * vocabulary, vocabulary);
    row += batch_[i].logits_rows;
    if (sequence.phase == SequencePhase::kEnded) continue;  // another choice of its request met a fault
    sequence.computed += plan_.chunks[i].tokens;
    if (batch_[i].logits_rows > 0) take_logits(sequence, logits);
  }
  forget_ended();
  if (options_.check_blocks || kDebugBuild) scheduler_.check_accounting();
  return {};
}

void BatchingEngine::build_batch() {
  batch_.clear();
  size_t rows = 0;
  for (const auto& chunk : plan_.chunks) {
    const Sequence& sequence = *chunk.sequence;
    const uint32_t blocks = scheduler_.pool().blocks_for(uint64_t{sequence.computed} + chunk.tokens);
    const uint32_t logits_rows = chunk.tokens == sequence.pending() ? 1 : 0;
    batch_.push_back({.tokens = std::span(sequence.tokens).subspan(sequence.computed, chunk.tokens),
                      .position = sequence.computed,
                      .blocks = std::span(sequence.blocks).first(blocks),
                      .logits_rows = logits_rows});
    rows += logits_rows;
  }
  const size_t values = rows * backend_.info().vocabulary;
  if (logits_.size() < values) logits_.resize(values);
}

Result<void> BatchingEngine::run_batch() {
  for (const auto& copy : plan_.copies) backend_.copy_block(copy.from, copy.to);
  size_t rows = 0;
  uint64_t context_tokens = 0;
  for (const auto& entry : batch_) {
    rows += entry.logits_rows;
    if (entry.tokens.size() == 1) context_tokens += entry.position + 1;
  }
  const uint64_t begin_ns = monotonic_ns();
  TRY(backend_.step(batch_, std::span(logits_).first(rows * backend_.info().vocabulary), {}));
  const double seconds = static_cast<double>(monotonic_ns() - begin_ns) / static_cast<double>(kSecond_ns);
  speed_.add(plan_.decodes, context_tokens, plan_.prefill_tokens, seconds);
  return {};
}

// `leader` has run all of its tokens. The choices that waited for it to prefill their prompt take the same
// logits.
void BatchingEngine::take_logits(Sequence& leader, std::span<const float> logits) {
  Request& request = *leader.request;
  if (leader.size() == request.prompt_tokens) {
    for (auto& sibling : request.choices) {
      if (!sibling.awaits_leader) continue;
      sibling.awaits_leader = false;
      if (!scheduler_.fork(leader, sibling)) continue;  // no seat: it will prefill on its own
      sample(sibling, logits);
      if (request.ended) return;
    }
  }
  sample(leader, logits);
}

void BatchingEngine::sample(Sequence& sequence, std::span<const float> logits) {
  Request& request = *sequence.request;
  Draw draw{.generation = request.generation,
            .counts = sequence.counts,
            .choice = sequence.priority.choice,
            .index = sequence.continuation.tokens(),
            .masked = {},
            .masked_too = {}};
  if (sequence.continuation.must_go_on()) {
    draw.masked = request.generation.stop_tokens;
    draw.masked_too = end_tokens_;
  }
  const auto token = sampler_.sample(logits, draw);
  if (!token) {
    fail_request(request, token.error());
    return;
  }
  sequence.tokens.push_back(*token);
  sequence.counts.add_generated(*token);
  ++generated_tokens_total_;
  ++request.completion_tokens;
  request.last_token_ns = monotonic_ns();
  if (request.first_token_ns == 0) request.first_token_ns = request.last_token_ns;

  delta_.text.clear();
  if (draw.index == 0) delta_.text = request.echo_text;
  const auto reason = sequence.continuation.append(*token, delta_.text);
  tell_delta(sequence, *token, logits);
  if (reason) end_choice(sequence, *reason);
}

// Tells the token that delta_.text belongs to. Without logits there is none: the text is an echo.
void BatchingEngine::tell_delta(Sequence& sequence, TokenId token, std::span<const float> logits) {
  const Request& request = *sequence.request;
  delta_.request = request.id;
  delta_.choice = sequence.priority.choice;
  delta_.tokens.clear();
  delta_.logprobs.clear();
  if (logits.empty()) {
    if (request.echo_text.empty()) return;
    delta_.index = 0;
    delta_.text = request.echo_text;
  } else {
    delta_.index = sequence.continuation.tokens() - 1;
    delta_.tokens.push_back(token);
    if (request.generation.logprobs != ipc::kNoLogprobs) {
      auto& entry = delta_.logprobs.emplace_back();
      for (const auto& ranked : sampler_.logprobs(logits, token, request.generation.logprobs)) {
        entry.push_back(
            {ranked.token, ranked.logprob, std::string(tokenizer_.token_bytes(ranked.token, true))});
      }
    }
  }
  sink_.delta(delta_);
}

void BatchingEngine::end_choice(Sequence& sequence, ipc::FinishReason reason) {
  Request& request = *sequence.request;
  scheduler_.remove(sequence);
  CHECK(request.choices_open > 0);
  ipc::Finished finished;
  finished.request = request.id;
  finished.choice = sequence.priority.choice;
  finished.reason = reason;
  finished.last = false;
  if (--request.choices_open == 0) {
    const uint64_t now_ns = monotonic_ns();
    const uint64_t scheduled_ns = request.accepted ? request.scheduled_ns : now_ns;
    const uint64_t first_ns = request.first_token_ns == 0 ? now_ns : request.first_token_ns;
    finished.last = true;
    finished.usage = {request.prompt_tokens, 0, request.completion_tokens};
    finished.timings = {.queued_ns = scheduled_ns - request.submitted_ns,
                        .prefill_ns = first_ns - scheduled_ns,
                        .decode_ns = request.first_token_ns == 0 ? 0 : request.last_token_ns - first_ns};
    request.ended = true;
    ended_.push_back(request.id);
  }
  sink_.finished(finished);
}

void BatchingEngine::fail_request(Request& request, const Error& error) {
  if (request.ended) return;
  for (auto& sequence : request.choices) {
    if (sequence.phase != SequencePhase::kEnded) scheduler_.remove(sequence);
  }
  request.ended = true;
  ended_.push_back(request.id);
  sink_.failed({request.id, error.code, error.message});
}

void BatchingEngine::forget_ended() {
  for (const ipc::RequestId id : ended_) requests_.erase(id);
  ended_.clear();
}

ipc::Gauges BatchingEngine::gauges() const {
  const StepTimes& times = speed_.step_times();
  return {.prefill_tokens_per_second = speed_.prefill_tokens_per_second(),
          .step_fixed_seconds = times.fixed_seconds,
          .step_per_sequence_seconds = times.per_sequence_seconds,
          .step_per_context_token_seconds = times.per_context_token_seconds,
          .kv_blocks_free = scheduler_.pool().free(),
          .kv_blocks_total = scheduler_.pool().total(),
          .sequences_running = scheduler_.running(),
          .sequences_waiting = scheduler_.waiting(),
          .prompt_tokens_total = prompt_tokens_total_,
          .generated_tokens_total = generated_tokens_total_,
          .preemptions_total = scheduler_.preemptions()};
}

}  // namespace deepserve::runner
