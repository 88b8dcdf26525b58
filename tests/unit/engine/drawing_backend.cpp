#include "tests/unit/engine/drawing_backend.h"

#include <limits>
#include <numeric>

namespace deepserve::runner::testing {
namespace {

DrawFault fault_of(const Error& error) {
  if (error.code == Code::kInvalidRequest) return DrawFault::kNothingLeft;
  CHECK(error.code == Code::kNumericFault);
  return error.message.find("every token") != std::string::npos ? DrawFault::kAllZero : DrawFault::kNotALogit;
}

// What an engine counted, from what it told of it.
TokenCounts counts_of(const RowDraw& draw) {
  std::vector<TokenId> seen;
  for (const TokenCount& count : draw.counts) seen.push_back(count.token);
  TokenCounts counts(*draw.generation, seen);
  for (const TokenCount& count : draw.counts) {
    for (uint32_t i = 0; i < count.generated; ++i) counts.add_generated(count.token);
  }
  return counts;
}

}  // namespace

// The whole vocabulary sorted, its exponentials summed by the rule of token_weights.h.
void DrawingBackend::tell_logprobs(std::span<const float> logits, uint8_t alternatives, DrawnRow& row) {
  const auto* kernels = kernels::find_logits_kernels("scalar");
  const size_t chunks = kernels::logits_chunks(logits.size());
  std::vector<float> largest(chunks), sums(chunks), factors(chunks);
  kernels::outline_logits(*kernels, logits.data(), logits.size(), 1, largest.data(), sums.data());
  row.best = *std::ranges::max_element(largest);
  kernels->exponentials(largest.data(), chunks, row.best, 1, factors.data());
  row.total = 0;
  for (size_t i = 0; i < chunks; ++i) row.total += kernels::token_weight(sums[i], factors[i]);
  std::vector<TokenId> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), TokenId{0});
  std::ranges::stable_sort(tokens, [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  row.alternatives_size = std::min<uint32_t>(alternatives, static_cast<uint32_t>(tokens.size()));
  for (uint32_t i = 0; i < row.alternatives_size; ++i) row.alternatives[i] = {tokens[i], logits[tokens[i]]};
}

void DrawingBackend::draw(std::span<float> logits, const RowDraw& draw, DrawnRow& row, DrawnToken* tokens) {
  const auto& generation = *draw.generation;
  CHECK(std::ranges::is_sorted(generation.logit_bias, {}, &std::pair<TokenId, float>::first));
  const TokenCounts counts = counts_of(draw);
  row = {};
  for (size_t i = 0; i < draw.choices.size(); ++i) {
    const auto token = sampler_.sample({logits}, {generation, counts, draw.choices[i], draw.index,
                                                  draw.masked, draw.masked_too, draw.allowed});
    if (!token) {
      row.fault = fault_of(token.error());
      if (row.fault != DrawFault::kNotALogit) return;
      const auto bad = std::ranges::find_if(
          logits, [](float logit) { return !(logit < std::numeric_limits<float>::infinity()); });
      row.bad_token = static_cast<TokenId>(bad - logits.begin());
      row.bad_logit = *bad;
      return;
    }
    tokens[i] = {*token, logits[*token]};
  }
  if (generation.logprobs != ipc::kNoLogprobs) tell_logprobs(logits, generation.logprobs, row);
}

Result<void> DrawingBackend::step(std::span<const BatchEntry> batch, const StepOutputs& outputs) {
  std::vector<BatchEntry> whole(batch.begin(), batch.end());
  size_t rows = 0;
  for (BatchEntry& entry : whole) {
    CHECK(entry.draws.empty() || entry.draws.size() == entry.logits_rows);
    entry.draws = {};
    rows += entry.logits_rows;
  }
  const size_t vocabulary = info_.vocabulary, chunks = kernels::logits_chunks(vocabulary);
  logits_.resize(rows * vocabulary);
  largest_.resize(rows * chunks);
  sums_.resize(rows * chunks);
  TRY(inner_.step(whole, {logits_, outputs.hidden, largest_, sums_}));
  size_t row = 0, told = 0, drawn = 0, tokens = 0;
  for (const BatchEntry& entry : batch) {
    for (uint32_t i = 0; i < entry.logits_rows; ++i, ++row) {
      const std::span<float> logits = std::span(logits_).subspan(row * vocabulary, vocabulary);
      if (entry.draws.empty()) {
        std::ranges::copy(logits, outputs.logits.begin() + static_cast<ptrdiff_t>(told * vocabulary));
        std::copy_n(&largest_[row * chunks], chunks, &outputs.largest[told * chunks]);
        std::copy_n(&sums_[row * chunks], chunks, &outputs.sums[told * chunks]);
        ++told;
        continue;
      }
      draw(logits, entry.draws[i], outputs.drawn_rows[drawn++], &outputs.drawn_tokens[tokens]);
      tokens += entry.draws[i].choices.size();
    }
  }
  CHECK(outputs.logits.size() == told * vocabulary && outputs.drawn_rows.size() == drawn);
  CHECK(outputs.drawn_tokens.size() == tokens);
  rows_told += told;
  rows_drawn += drawn;
  return {};
}

}  // namespace deepserve::runner::testing
