#include "runner/engine/step_batch.h"

#include <algorithm>

#include "runner/engine/sampler.h"

namespace deepserve::runner {

using kernels::logits_chunks;

void StepBatch::build(const StepPlan& plan, const BlockPool& pool) {
  entries_.clear();
  places_.clear();
  draws_.clear();
  rows_ = hidden_values_ = 0;
  gives_tokens_alone_ = backend_.info().draws;
  for (const auto& chunk : plan.chunks) {
    Sequence& sequence = *chunk.sequence;
    const Request& request = *sequence.request;
    const uint32_t blocks = pool.blocks_for(uint64_t{sequence.computed} + chunk.tokens);
    const bool to_the_end = chunk.tokens == sequence.pending() + sequence.drafts.count;
    const uint32_t for_answer = request.answers() && to_the_end ? 1 + sequence.drafts.count : 0;
    const uint32_t scored = sequence.scored_rows(chunk.tokens);
    BatchEntry& entry = entries_.emplace_back(
        BatchEntry{.tokens = std::span(sequence.tokens).subspan(sequence.computed, chunk.tokens),
                   .position = sequence.computed,
                   .blocks = std::span(sequence.blocks).first(blocks),
                   .logits_rows = std::max(for_answer, scored),
                   .hidden_rows = request.work == ipc::Work::kEmbed,
                   .sums_scale = Sampler::sums_scale(request.generation)});
    if (to_the_end && sequence.expected) entry.last_drawn = *sequence.expected;
    const size_t drawn_begin = draws_.size();
    const bool may_draw = backend_.info().draws && for_answer > 0 && scored == 0;
    const bool is_drawn = may_draw && draws_.add(sequence);
    places_.push_back({rows_, hidden_values_, is_drawn, drawn_begin, 0});
    gives_tokens_alone_ = gives_tokens_alone_ && gives_token_alone(sequence, entry, is_drawn);
    if (!is_drawn) rows_ += entry.logits_rows;
    if (entry.hidden_rows) hidden_values_ += entry.tokens.size() * backend_.info().embedding;
  }
  take_draws();
  make_room();
}

bool StepBatch::gives_token_alone(const Sequence& sequence, const BatchEntry& entry, bool is_drawn) {
  const Request& request = *sequence.request;
  const bool to_the_end = entry.logits_rows > 0;
  if (is_drawn != to_the_end || entry.logits_rows > 1 || entry.hidden_rows) return false;
  if (sequence.matcher || sequence.counts.active()) return false;
  if (sequence.size() > request.prompt_tokens) return true;
  return !request.echo && !(to_the_end && std::ranges::any_of(request.choices, &Sequence::awaits_leader));
}

void StepBatch::take_draws() {
  draws_.finish();
  size_t tokens = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!places_[i].is_drawn) continue;
    places_[i].token_begin = tokens;
    entries_[i].draws = draws_.rows(places_[i].drawn_begin, entries_[i].logits_rows);
    for (const RowDraw& draw : entries_[i].draws) tokens += draw.choices.size();
  }
  drawn_rows_.resize(draws_.size());
  drawn_tokens_.resize(tokens);
}

void StepBatch::make_room() {
  if (logits_.size() < rows_ * vocabulary()) {
    logits_.resize(rows_ * vocabulary());
    largest_.resize(rows_ * logits_chunks(vocabulary()));
    sums_.resize(largest_.size());
  }
  if (hidden_.size() < hidden_values_) hidden_.resize(hidden_values_);
}

Result<void> StepBatch::start(const StepPlan& plan) {
  for (const auto& copy : plan.copies) backend_.copy_block(copy.from, copy.to);
  const size_t chunks = rows_ * logits_chunks(vocabulary());
  return backend_.start(entries_, {.logits = std::span(logits_).first(rows_ * vocabulary()),
                                   .hidden = std::span(hidden_).first(hidden_values_),
                                   .largest = std::span(largest_).first(chunks),
                                   .sums = std::span(sums_).first(chunks),
                                   .drawn_rows = drawn_rows_,
                                   .drawn_tokens = drawn_tokens_});
}

StepRows StepBatch::rows(size_t i) {
  const Place& place = places_[i];
  const BatchEntry& entry = entries_[i];
  if (place.is_drawn) {
    return {.draws = entry.draws,
            .drawn = std::span(drawn_rows_).subspan(place.drawn_begin, entry.draws.size()),
            .tokens = std::span(drawn_tokens_).subspan(place.token_begin)};
  }
  const size_t rows = entry.logits_rows, begin = place.row_begin, chunks = logits_chunks(vocabulary());
  return {.logits = {std::span(logits_).subspan(begin * vocabulary(), rows * vocabulary()),
                     std::span(largest_).subspan(begin * chunks, rows * chunks),
                     std::span(sums_).subspan(begin * chunks, rows * chunks), entry.sums_scale,
                     vocabulary()}};
}

std::span<const float> StepBatch::hidden(size_t i) const {
  const size_t rows = entries_[i].hidden_rows ? entries_[i].tokens.size() : 0;
  return std::span(hidden_).subspan(places_[i].hidden_begin, rows * backend_.info().embedding);
}

}  // namespace deepserve::runner
