#include "runner/bench/step_timer.h"

#include <algorithm>
#include <numeric>

#include "ipc/base/clock.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kTokenStride = 7919;  // prime: tokens from all over the vocabulary
constexpr uint16_t kChoice = 0;

uint32_t blocks_for(uint32_t tokens, uint32_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

}  // namespace

StepTimer::StepTimer(Backend& backend) : backend_(backend), blocks_(backend.info().blocks) {
  std::iota(blocks_.begin(), blocks_.end(), BlockId{0});
  greedy_.temperature = 0;
  tokens_.resize(backend.info().batch_tokens_max);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    tokens_[i] = static_cast<TokenId>((i + 1) * kTokenStride % backend.info().vocabulary);
  }
}

Result<Durations_ns> StepTimer::prefill(uint32_t tokens, uint32_t repeats) {
  TRY(check_room(1, tokens, tokens));
  const uint32_t sequence_blocks = blocks_for(tokens, backend_.info().block_tokens);
  TRY(run(1, tokens, 0, sequence_blocks));  // warms up
  Durations_ns durations;
  for (uint32_t repeat = 0; repeat < repeats; ++repeat) {
    TRY_ASSIGN(const uint64_t taken_ns, run(1, tokens, 0, sequence_blocks));
    durations.push_back(taken_ns);
  }
  return durations;
}

Result<Durations_ns> StepTimer::decode(uint32_t count, uint32_t context, uint32_t steps, uint32_t repeats) {
  TRY(check_room(count, context + steps, count));
  const uint32_t sequence_blocks = blocks_for(context + steps, backend_.info().block_tokens);
  TRY(fill_context(count, context, sequence_blocks));
  TRY(run(count, 1, context, sequence_blocks));  // warms up
  Durations_ns durations;
  for (uint32_t repeat = 0; repeat < repeats; ++repeat) {
    uint64_t sum_ns = 0;
    for (uint32_t step = 0; step < steps; ++step) {
      TRY_ASSIGN(const uint64_t taken_ns, run(count, 1, context + step, sequence_blocks));
      sum_ns += taken_ns;
    }
    durations.push_back(sum_ns);
  }
  return durations;
}

Result<void> StepTimer::check_room(uint32_t sequences, uint32_t sequence_tokens, uint32_t step_tokens) const {
  const BackendInfo& info = backend_.info();
  if (sequence_tokens > info.context_tokens_model) {
    return fail(Code::kInvalidRequest, "{} tokens: the model's context is {}", sequence_tokens,
                info.context_tokens_model);
  }
  if (step_tokens > info.batch_tokens_max) {
    return fail(Code::kInvalidRequest, "{} tokens in one step: the backend takes {}", step_tokens,
                info.batch_tokens_max);
  }
  const uint64_t needed = uint64_t{sequences} * blocks_for(sequence_tokens, info.block_tokens);
  if (needed <= info.blocks) return {};
  return fail(
      Code::kInvalidRequest,
      "a batch of {} with {} tokens each needs {} KV blocks of {}, the KV cache has {}: raise --kv-bytes",
      sequences, sequence_tokens, needed, info.block_tokens, info.blocks);
}

// The first sequence's context is computed, in steps of the backend's size, and copied to the others.
Result<void> StepTimer::fill_context(uint32_t count, uint32_t context, uint32_t sequence_blocks) {
  for (uint32_t position = 0; position < context;) {
    const uint32_t tokens = std::min(context - position, backend_.info().batch_tokens_max);
    TRY(run(1, tokens, position, sequence_blocks));
    position += tokens;
  }
  for (uint32_t i = 1; i < count; ++i) {
    for (uint32_t b = 0; b < blocks_for(context, backend_.info().block_tokens); ++b) {
      backend_.copy_block(blocks_[b], blocks_[size_t{i} * sequence_blocks + b]);
    }
  }
  return {};
}

// One step of `count` sequences, `tokens` new ones each from `position`; each with the logits of its last.
// How long it took.
Result<uint64_t> StepTimer::run(uint32_t count, uint32_t tokens, uint32_t position,
                                uint32_t sequence_blocks) {
  const bool draws = backend_.info().draws;
  entries_.resize(count);
  draws_.assign(count, {.generation = &greedy_, .choices = {&kChoice, 1}});
  for (uint32_t i = 0; i < count; ++i) {
    entries_[i].tokens = std::span<const TokenId>(tokens_).subspan(count == 1 ? 0 : i, tokens);
    entries_[i].position = position;
    entries_[i].blocks = std::span<const BlockId>(blocks_).subspan(
        size_t{i} * sequence_blocks, blocks_for(position + tokens, backend_.info().block_tokens));
    entries_[i].logits_rows = 1;
    if (draws) entries_[i].draws = {&draws_[i], 1};
  }
  logits_.resize(draws ? 0 : size_t{count} * backend_.info().vocabulary);
  drawn_rows_.resize(draws ? count : 0);
  drawn_tokens_.resize(drawn_rows_.size());
  const uint64_t begin_ns = monotonic_ns();
  TRY(backend_.step(
      entries_, {.logits = logits_, .hidden = {}, .drawn_rows = drawn_rows_, .drawn_tokens = drawn_tokens_}));
  return monotonic_ns() - begin_ns;
}

}  // namespace deepserve::runner
