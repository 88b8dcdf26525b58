#include "runner/engine/batching_engine.h"

#include <algorithm>
#include <limits>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"
#include "runner/engine/draw_faults.h"

namespace deepserve::runner {
namespace {

#ifdef NDEBUG
constexpr bool kDebugBuild = false;
#else
constexpr bool kDebugBuild = true;
#endif

constexpr uint32_t kScoredEntriesMax = 65'536;  // log probabilities told of one prompt in one step
constexpr uint32_t kReservedTokensMax = 8192;   // of a sequence, for which it has memory from the start
constexpr uint32_t kToldTokensMax = 16'384;     // of a prompt that is only told, to all choices in one step

// How many positions of the prompt a step may score: each is told to every choice, and all of that waits
// together on its way out.
uint32_t scored_rows_max(const ipc::Generation& generation) {
  return std::max(1u, kScoredEntriesMax / (generation.choices * (1u + generation.logprobs)));
}

std::vector<TokenId> end_tokens_of(const Tokenizer& tokenizer, uint32_t vocabulary) {
  std::vector<TokenId> tokens;
  for (TokenId token = 0; token < vocabulary; ++token) {
    if (tokenizer.ends_generation(token)) tokens.push_back(token);
  }
  return tokens;
}

// What the backend drew for `choice`.
Result<TokenId> drawn_token(const StepRow& row, uint16_t choice) {
  switch (row.drawn->fault) {
    case DrawFault::kNotALogit:
      return not_a_logit(row.drawn->bad_logit, row.drawn->bad_token);
    case DrawFault::kAllZero:
      return all_logits_are_zero();
    case DrawFault::kNothingLeft:
      return nothing_left_to_choose();
    case DrawFault::kNone:
      break;
  }
  return row.token_of(choice).token;
}

double seconds_since(uint64_t begin_ns) {
  return static_cast<double>(monotonic_ns() - begin_ns) / static_cast<double>(kSecond_ns);
}

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
      scheduler_({options.sequences_max, options.step_tokens_max, options.prefix_cache},
                 backend.info().blocks, backend.info().block_tokens),
      teller_(tokenizer, sampler_, sink),
      token_bytes_max_(token_bytes_max(tokenizer)),
      constraints_(tokenizer, backend.info().vocabulary),
      end_tokens_(end_tokens_of(tokenizer, backend.info().vocabulary)),
      draw_rule_(end_tokens_),
      budget_(options, backend.info().vocabulary),
      speculator_(options),
      steps_(backend, draw_rule_, scheduler_, budget_, speculator_, options.run_ahead) {}

void BatchingEngine::submit(const ipc::Submit& submit) {
  if (requests_.contains(submit.request)) return;
  const BackendInfo& info = backend_.info();
  const RequestLimits limits{.context_tokens = options_.context_tokens,
                             .vocabulary = info.vocabulary,
                             .embedding = info.embedding,
                             .kv_blocks = info.blocks,
                             .kv_block_tokens = info.block_tokens,
                             .token_bytes_max = token_bytes_max_};
  auto prepared = prepare(submit, limits, tokenizer_, chat_);
  if (!prepared) {
    sink_.failed({submit.request, prepared.error().code, std::move(prepared.error().message)});
    return;
  }
  auto matcher = matcher_of(submit);
  if (!matcher) {
    sink_.failed({submit.request, matcher.error().code, std::move(matcher.error().message)});
    return;
  }
  auto request = std::make_unique<Request>();
  request->id = submit.request;
  request->work = submit.work;
  if (submit.work == ipc::Work::kGenerate) request->generation = submit.generation;
  // As backends want them; of one token they stay in the order in which they are added.
  std::ranges::stable_sort(request->generation.logit_bias, {}, &std::pair<TokenId, float>::first);
  request->prompt_tokens = static_cast<uint32_t>(prepared->tokens.size());
  request->tokens_limit = prepared->tokens_limit;
  request->submitted_ns = monotonic_ns();
  prompt_tokens_total_ += request->prompt_tokens;
  Request& placed = *requests_.emplace(submit.request, std::move(request)).first->second;
  make_choices(placed, submit, *prepared, *matcher);
  start(placed, submit);
  forget_ended();
}

// Of the answer's constraint, if it has one. What ends an answer is allowed where the constraint is complete.
Result<std::optional<GrammarMatcher>> BatchingEngine::matcher_of(const ipc::Submit& submit) {
  if (submit.work != ipc::Work::kGenerate) return std::optional<GrammarMatcher>();
  std::vector<TokenId> ends = submit.generation.stop_tokens;
  if (!submit.generation.ignore_eos) ends.insert(ends.end(), end_tokens_.begin(), end_tokens_.end());
  return constraints_.matcher(submit.generation.constraint, std::move(ends));
}

void BatchingEngine::make_choices(Request& request, const ipc::Submit& submit, PreparedPrompt& prepared,
                                  const std::optional<GrammarMatcher>& matcher) {
  const auto& generation = request.generation;
  if (generation.echo) {
    request.echo.emplace(tokenizer_, request.prompt_tokens, generation.logprobs != ipc::kNoLogprobs);
  }
  request.choices_open = generation.choices;
  request.choices.reserve(generation.choices);
  for (uint16_t choice = 0; choice < generation.choices; ++choice) {
    request.choices.push_back(Sequence{
        .request = &request,
        .priority = {submit.service_class, choice, arrivals_, choice},
        .tokens = prepared.tokens,
        .blocks = {},
        .tokens_final = request.prompt_tokens + prepared.tokens_limit,
        .salt = submit.prefix_salt,
        .reuses_prefix = request.work == ipc::Work::kGenerate,
        .hears_echo = generation.echo,
        .counts = TokenCounts(generation, prepared.tokens),
        .continuation =
            Continuation(tokenizer_, generation, std::max(prepared.tokens_limit, 1u), prepared.text_starts),
        .matcher = matcher});
    Sequence& made = request.choices.back();
    made.tokens.reserve(std::min(made.tokens_final + DraftPlanner::kRowsMax, kReservedTokensMax));
  }
  ++arrivals_;
}

void BatchingEngine::start(Request& request, const ipc::Submit& submit) {
  const bool scored = request.echo && request.echo->scored();
  if (request.work == ipc::Work::kGenerate && request.tokens_limit == 0 && !scored) {
    // Nothing is to be computed: the echo, or nothing, is all of the answer.
    accept(request);
    if (request.echo) return only_told_.push_back(request.id);
    return end_all_choices(request, ipc::FinishReason::kLength);
  }
  if (request.answers()) {
    for (const auto& resumed : submit.resumed) {
      resume(request.choices[resumed.choice], resumed);
      if (request.ended) return;
    }
  }
  // The choices that begin with the prompt alone are alike: the first of them prefills for all.
  Sequence* leader = nullptr;
  for (auto& sequence : request.choices) {
    if (sequence.phase == SequencePhase::kEnded) continue;
    const bool begins = sequence.size() == request.prompt_tokens;
    sequence.awaits_leader = begins && leader != nullptr;
    if (begins && leader == nullptr) {
      leader = &sequence;
      if (scored) {
        sequence.scored_from = request.echo->scored_from();
        sequence.scored_rows_max = scored_rows_max(request.generation);
      }
    }
    scheduler_.add(sequence);
  }
}

// Replays what was generated elsewhere: what was heard is not told again, except the end if they had come to
// it.
void BatchingEngine::resume(Sequence& sequence, const ipc::ResumedChoice& resumed) {
  sequence.hears_echo = sequence.hears_echo && resumed.tokens.empty();
  const size_t heard = resumed.tokens.size() - resumed.unheard;
  for (size_t i = 0; i < resumed.tokens.size(); ++i) {
    const TokenId token = resumed.tokens[i];
    if (auto taken = sequence.take(token); !taken) return fail_request(*sequence.request, taken.error());
    ++sequence.request->completion_tokens;
    const auto reason = append(sequence, token);
    teller_.resumed(sequence, text_, i < heard);
    if (!reason) continue;
    accept(*sequence.request);
    end_choice(sequence, *reason);
    return;
  }
}

// The text of a token that was taken is in text_. Returns why the choice has ended, if it has.
std::optional<ipc::FinishReason> BatchingEngine::append(Sequence& sequence, TokenId token) {
  text_.clear();
  const auto reason = sequence.continuation.append(token, text_);
  if (!sequence.fulfils_constraint()) return reason;
  if (!reason) sequence.continuation.finish(text_);
  return ipc::FinishReason::kStop;
}

void BatchingEngine::accept(Request& request) {
  if (request.accepted) return;
  request.accepted = true;
  request.scheduled_ns = monotonic_ns();
  sink_.accepted({request.id, request.prompt_tokens, request.cached_tokens});
  for (const ipc::Delta& delta : std::exchange(request.unheard, {})) sink_.delta(delta);
}

void BatchingEngine::cancel(ipc::RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  end_all_choices(*found->second, ipc::FinishReason::kCancelled);
  forget_ended();
}

Result<void> BatchingEngine::step() {
  tell_prompt();
  if (scheduler_.empty() && steps_.empty()) return {};
  const uint64_t begin_ns = monotonic_ns();
  if (auto ran = run_step(); !ran) {
    steps_.give_up();
    while (!requests_.empty()) fail_request(*requests_.begin()->second, ran.error());
    forget_ended();
    return ran;
  }
  step_seconds_ += seconds_since(begin_ns);
  return {};
}

Result<void> BatchingEngine::run_step() {
  const bool begins = steps_.empty();
  if (begins || steps_.may_go_ahead()) TRY(start_step());
  if (begins && steps_.may_go_ahead()) return {};
  if (!steps_.empty()) TRY(finish_step());
  ended_.erase(ended_.begin(), ended_.begin() + static_cast<ptrdiff_t>(std::exchange(ended_before_, 0)));
  forget_ended();
  return {};
}

Result<void> BatchingEngine::start_step() {
  const bool runs = steps_.plan();
  if (options_.check_blocks || kDebugBuild) scheduler_.check_accounting();
  CHECK(runs || !steps_.empty());
  if (!runs) return {};
  for (const auto& chunk : steps_.planned().chunks) begin_request(*chunk.sequence);
  if (steps_.must_wait()) {
    TRY(finish_step());
    if (!steps_.drop_ended()) return {};
  }
  sink_.model_runs();
  ended_before_ = ended_.size();
  return steps_.start();
}

Result<void> BatchingEngine::finish_step() {
  TRY_ASSIGN(EngineStep* const done, steps_.finish());
  for (size_t chunk = 0; chunk < done->plan.chunks.size(); ++chunk) take_results(*done, chunk);
  ++steps_done_;
  if (options_.check_blocks || kDebugBuild) scheduler_.check_accounting();
  return {};
}

// What its first choice to run found computed is what the request found: the others begin alike, or go on
// from what was generated elsewhere.
void BatchingEngine::begin_request(const Sequence& sequence) {
  Request& request = *sequence.request;
  if (request.accepted) return;
  request.cached_tokens = std::min(sequence.cached_tokens.value_or(0), request.prompt_tokens);
  accept(request);
}

// One piece for the first of those that only want it told. Whoever calls step() can see in between how much
// of it waits on its way out.
void BatchingEngine::tell_prompt() {
  if (only_told_.empty()) return;
  Request& request = *requests_.at(only_told_.front());
  const uint32_t piece = std::max(1u, kToldTokensMax / request.generation.choices);
  const uint32_t end = request.echo->tellable(request.echo->told() + piece);
  CHECK(teller_.echo(request.choices[0], end, {}).has_value());
  if (request.echo->complete()) end_all_choices(request, ipc::FinishReason::kLength);
  forget_ended();
}

void BatchingEngine::take_results(EngineStep& step, size_t chunk) {
  Sequence& sequence = *step.plan.chunks[chunk].sequence;
  if (sequence.phase == SequencePhase::kEnded)
    return;  // by a step before, a cancel, or another choice's fault
  if (step.taken_for_done) {
    scheduler_.remember(sequence);
    if (sequence.expected) sample(sequence, step.batch.rows(chunk).back());
    return;
  }
  Request& request = *sequence.request;
  const uint32_t position = sequence.computed;
  const uint32_t drafted = sequence.drafts.take_back(sequence.tokens);
  sequence.computed += step.plan.chunks[chunk].tokens - drafted;
  scheduler_.remember(sequence);
  if (request.work == ipc::Work::kEmbed) return take_hidden(sequence, position, step.batch.hidden(chunk));
  const StepRows rows = step.batch.rows(chunk);
  const bool leads = sequence.size() == request.prompt_tokens;
  if (leads && request.echo && !take_echo(sequence, rows.logits)) return;
  if (sequence.pending() > 0) return;
  if (!request.answers()) return end_all_choices(request, ipc::FinishReason::kLength);
  if (drafted > 0) return take_drafted(sequence, drafted, rows);
  take_row(sequence, rows.back());
}

// False: the request has failed.
bool BatchingEngine::take_echo(Sequence& leader, const LogitsRows& rows) {
  Request& request = *leader.request;
  const uint32_t told_before = request.echo->told();
  const uint64_t begin_ns = monotonic_ns();
  if (auto told = teller_.echo(leader, request.echo->tellable(leader.computed), rows); !told) {
    fail_request(request, told.error());
    return false;
  }
  if (request.echo->scored()) {
    budget_.add_scoring(request.echo->told() - told_before, seconds_since(begin_ns));
  }
  return true;
}

void BatchingEngine::take_hidden(Sequence& sequence, uint32_t position, std::span<const float> hidden) {
  Request& request = *sequence.request;
  request.pool.add(position, hidden, backend_.info().embedding);
  if (sequence.pending() > 0) return;
  auto embedding = request.pool.embedding();
  if (!embedding) return fail_request(request, embedding.error());
  sink_.embedding({request.id, std::move(*embedding)});
  end_choice(sequence, ipc::FinishReason::kStop);
}

// `leader` has run all of its tokens. The choices that waited for it to prefill their prompt take the same
// row.
void BatchingEngine::take_row(Sequence& leader, const StepRow& row) {
  Request& request = *leader.request;
  if (leader.size() == request.prompt_tokens) {
    for (auto& sibling : request.choices) {
      if (!sibling.awaits_leader) continue;
      sibling.awaits_leader = false;
      if (!scheduler_.fork(leader, sibling)) continue;  // no seat: it will prefill on its own
      sample(sibling, row);
      if (request.ended) return;
    }
  }
  sample(leader, row);
}

// Row i of `rows` follows the sequence and i tokens of its draft: it is looked at while these are what was
// sampled, so that every token is the one that would have been sampled without a draft.
void BatchingEngine::take_drafted(Sequence& sequence, uint32_t drafted, const StepRows& rows) {
  Request& request = *sequence.request;
  uint32_t accepted = 0;
  request.drafts_rejected += drafted;  // until they are accepted: the first row may be the request's end
  speculator_.count_drafted(drafted);
  sample(sequence, rows[0]);
  while (sequence.phase == SequencePhase::kRunning && accepted < drafted &&
         sequence.tokens.back() == sequence.drafts.tokens[accepted]) {
    ++accepted;
    ++request.drafts_accepted;
    --request.drafts_rejected;
    speculator_.count_accepted();
    ++sequence.computed;
    sample(sequence, rows[accepted]);
  }
  if (sequence.phase == SequencePhase::kRunning) scheduler_.remember(sequence);
}

void BatchingEngine::sample(Sequence& sequence, const StepRow& row) {
  Request& request = *sequence.request;
  const auto token = choose(sequence, row);
  if (!token) return fail_request(request, token.error());
  if (auto taken = sequence.take(*token); !taken) return fail_request(request, taken.error());
  sequence.drafts.learn(*token);
  ++generated_tokens_total_;
  ++request.completion_tokens;
  request.last_token_ns = monotonic_ns();
  if (request.first_token_ns == 0) request.first_token_ns = request.last_token_ns;

  const auto reason = append(sequence, *token);
  teller_.token(sequence, text_, row);
  if (reason) end_choice(sequence, *reason);
}

Result<TokenId> BatchingEngine::choose(Sequence& sequence, const StepRow& row) {
  if (row.drawn != nullptr) return drawn_token(row, sequence.priority.choice);
  TRY_ASSIGN(const Draw draw, draw_rule_.draw_of(sequence));
  return sampler_.sample(row.logits, draw);
}

void BatchingEngine::end_choice(Sequence& sequence, ipc::FinishReason reason) {
  Request& request = *sequence.request;
  scheduler_.remove(sequence);
  for (size_t later = sequence.priority.choice + 1u; later < request.choices.size(); ++later) {
    Sequence& sibling = request.choices[later];
    if (sibling.phase != SequencePhase::kEnded) scheduler_.set_rank(sibling, sibling.priority.rank - 1);
  }
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
    finished.usage = {request.prompt_tokens, request.cached_tokens, request.completion_tokens,
                      request.drafts_accepted, request.drafts_rejected};
    finished.timings = {.queued_ns = scheduled_ns - request.submitted_ns,
                        .prefill_ns = first_ns - scheduled_ns,
                        .decode_ns = request.first_token_ns == 0 ? 0 : request.last_token_ns - first_ns};
    end_request(request);
  }
  sink_.finished(finished);
}

void BatchingEngine::end_all_choices(Request& request, ipc::FinishReason reason) {
  for (auto& sequence : request.choices) {
    if (sequence.phase != SequencePhase::kEnded) end_choice(sequence, reason);
  }
}

void BatchingEngine::fail_request(Request& request, const Error& error) {
  if (request.ended) return;
  for (auto& sequence : request.choices) {
    if (sequence.phase == SequencePhase::kEnded) continue;
    if (error.code == Code::kNumericFault) scheduler_.forget(sequence);
    scheduler_.remove(sequence);
  }
  end_request(request);
  sink_.failed({request.id, error.code, error.message});
}

void BatchingEngine::end_request(Request& request) {
  request.ended = true;
  std::erase(only_told_, request.id);
  const auto place = requests_.find(request.id);
  ended_.push_back(std::move(place->second));
  requests_.erase(place);
}

void BatchingEngine::forget_ended() {
  if (steps_.empty()) ended_.clear();
}

EngineTimes BatchingEngine::times() const {
  return {steps_done_, step_seconds_, steps_.backend_seconds()};
}

ipc::Gauges BatchingEngine::gauges() const {
  const SpeedModel& speed = budget_.speed();
  const StepTimes& times = speed.step_times();
  return {.prefill_tokens_per_second = speed.prefill_tokens_per_second(),
          .step_fixed_seconds = times.fixed_seconds,
          .step_per_sequence_seconds = times.per_sequence_seconds,
          .step_per_context_token_seconds = times.per_context_token_seconds,
          .kv_blocks_free = scheduler_.pool().available(),
          .kv_blocks_total = scheduler_.pool().total(),
          .sequences_running = scheduler_.running(),
          .sequences_waiting = scheduler_.waiting(),
          .prompt_tokens_total = prompt_tokens_total_,
          .generated_tokens_total = generated_tokens_total_,
          .preemptions_total = scheduler_.preemptions(),
          .prefix_queries_total = scheduler_.prefix_queries(),
          .prefix_hits_total = scheduler_.prefix_hits(),
          .draft_tokens_total = speculator_.drafted_total(),
          .draft_tokens_accepted_total = speculator_.accepted_total()};
}

}  // namespace deepserve::runner
