#include "runner/engine/step_batch.h"

#include <algorithm>

#include "runner/engine/sampler.h"

namespace deepserve::runner {

using kernels::logits_chunks;

void StepBatch::build(const StepPlan& plan, const BlockPool& pool) {
  entries_.clear();
  places_.clear();
  rows_ = hidden_values_ = 0;
  for (const auto& chunk : plan.chunks) {
    const Sequence& sequence = *chunk.sequence;
    const Request& request = *sequence.request;
    const uint32_t blocks = pool.blocks_for(uint64_t{sequence.computed} + chunk.tokens);
    const bool to_the_end = chunk.tokens == sequence.pending() + sequence.drafts.count;
    const uint32_t for_answer = request.answers() && to_the_end ? 1 + sequence.drafts.count : 0;
    const BatchEntry& entry = entries_.emplace_back(
        BatchEntry{.tokens = std::span(sequence.tokens).subspan(sequence.computed, chunk.tokens),
                   .position = sequence.computed,
                   .blocks = std::span(sequence.blocks).first(blocks),
                   .logits_rows = std::max(for_answer, sequence.scored_rows(chunk.tokens)),
                   .hidden_rows = request.work == ipc::Work::kEmbed,
                   .sums_scale = Sampler::sums_scale(request.generation)});
    places_.push_back({rows_, hidden_values_});
    rows_ += entry.logits_rows;
    if (entry.hidden_rows) hidden_values_ += entry.tokens.size() * backend_.info().embedding;
  }
  if (logits_.size() < rows_ * vocabulary()) {
    logits_.resize(rows_ * vocabulary());
    largest_.resize(rows_ * logits_chunks(vocabulary()));
    sums_.resize(largest_.size());
  }
  if (hidden_.size() < hidden_values_) hidden_.resize(hidden_values_);
}

Result<void> StepBatch::run(const StepPlan& plan) {
  for (const auto& copy : plan.copies) backend_.copy_block(copy.from, copy.to);
  const size_t chunks = rows_ * logits_chunks(vocabulary());
  return backend_.step(
      entries_, {std::span(logits_).first(rows_ * vocabulary()), std::span(hidden_).first(hidden_values_),
                 std::span(largest_).first(chunks), std::span(sums_).first(chunks)});
}

LogitsRows StepBatch::logits(size_t i) {
  const size_t rows = entries_[i].logits_rows, begin = places_[i].row_begin;
  const size_t chunks = logits_chunks(vocabulary());
  return {std::span(logits_).subspan(begin * vocabulary(), rows * vocabulary()),
          std::span(largest_).subspan(begin * chunks, rows * chunks),
          std::span(sums_).subspan(begin * chunks, rows * chunks), entries_[i].sums_scale, vocabulary()};
}

std::span<const float> StepBatch::hidden(size_t i) const {
  const size_t rows = entries_[i].hidden_rows ? entries_[i].tokens.size() : 0;
  return std::span(hidden_).subspan(places_[i].hidden_begin, rows * backend_.info().embedding);
}

}  // namespace deepserve::runner
