// Feeds sequences through a Backend the way the engine does, with block tables of the test's choosing.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cpu/logits.h"
#include "runner/backend/backend.h"

namespace deepserve::runner {

struct TestSequence {
  std::vector<TokenId> tokens;
  std::vector<BlockId> blocks;  // [ceil(tokens / block_tokens)]
  size_t done = 0;
  std::vector<float> logits;  // [tokens, vocabulary], filled as it runs

  BatchEntry entry(size_t count, size_t block_tokens) const {
    BatchEntry entry;
    entry.tokens = std::span(tokens).subspan(done, count);
    entry.position = static_cast<uint32_t>(done);
    entry.blocks = std::span(blocks).first((done + count + block_tokens - 1) / block_tokens);
    entry.logits_rows = static_cast<uint32_t>(count);
    return entry;
  }
};

inline constexpr float kSumsScale = 0.7f;

// Of rows of logits, each as a whole: the chunks' largest, and their sums.
inline std::pair<std::vector<float>, std::vector<float>> outlines_of(std::span<const float> logits,
                                                                     size_t vocabulary) {
  const auto* kernels = kernels::find_logits_kernels("scalar");
  const size_t rows = logits.size() / vocabulary, chunks = kernels::logits_chunks(vocabulary);
  std::pair<std::vector<float>, std::vector<float>> outlines{rows * chunks, rows * chunks};
  for (size_t row = 0; row < rows; ++row) {
    kernels::outline_logits(*kernels, &logits[row * vocabulary], vocabulary, kSumsScale,
                            &outlines.first[row * chunks], &outlines.second[row * chunks]);
  }
  return outlines;
}

// One step: counts[i] tokens of sequence i (0: it sits out).
inline Result<void> run_step(Backend& backend, std::span<TestSequence> sequences,
                             std::span<const size_t> counts) {
  const size_t vocabulary = backend.info().vocabulary;
  std::vector<BatchEntry> batch;
  size_t rows = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (counts[i] == 0) continue;
    batch.push_back(sequences[i].entry(counts[i], backend.info().block_tokens));
    rows += counts[i];
  }
  const size_t chunks = kernels::logits_chunks(vocabulary);
  std::vector<float> logits(rows * vocabulary), largest(rows * chunks), sums(largest.size());
  for (BatchEntry& entry : batch) entry.sums_scale = kSumsScale;
  TRY(backend.step(batch, {logits, {}, largest, sums}));
  EXPECT_EQ(outlines_of(logits, vocabulary), std::pair(largest, sums));
  auto next = logits.begin();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto end = next + static_cast<ptrdiff_t>(counts[i] * vocabulary);
    sequences[i].logits.insert(sequences[i].logits.end(), next, end);
    sequences[i].done += counts[i];
    next = end;
  }
  return {};
}

// All of one sequence, one token a step, in blocks 0, 1, 2, ...
inline Result<std::vector<float>> run_alone(Backend& backend, std::vector<TokenId> tokens) {
  TestSequence sequence;
  sequence.tokens = std::move(tokens);
  sequence.blocks.resize((sequence.tokens.size() + backend.info().block_tokens - 1) /
                         backend.info().block_tokens);
  std::iota(sequence.blocks.begin(), sequence.blocks.end(), BlockId{0});
  const size_t one = 1;
  while (sequence.done < sequence.tokens.size()) TRY(run_step(backend, {&sequence, 1}, {&one, 1}));
  return sequence.logits;
}

}  // namespace deepserve::runner
