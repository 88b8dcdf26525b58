#include "tests/unit/engine/drawing_backend.h"

#include <limits>
#include <numeric>
#include <thread>

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

// All that the step borrowed, copied.
struct DrawingBackend::Queued {
  struct Row {
    ipc::Generation generation;
    std::vector<uint16_t> choices;
    std::vector<TokenCount> counts;
    std::vector<TokenId> masked, masked_too;
    std::vector<uint64_t> allowed;
  };
  struct Entry {
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    std::deque<Row> rows;
    std::vector<RowDraw> draws;
  };
  Queued(std::span<const BatchEntry> from, const StepOutputs& to) : outputs(to) {
    for (BatchEntry entry : from) {
      Entry& kept = kept_entries.emplace_back();
      kept.tokens.assign(entry.tokens.begin(), entry.tokens.end());
      kept.blocks.assign(entry.blocks.begin(), entry.blocks.end());
      for (RowDraw draw : entry.draws) {
        Row& row = kept.rows.emplace_back(Row{*draw.generation,
                                              {draw.choices.begin(), draw.choices.end()},
                                              {draw.counts.begin(), draw.counts.end()},
                                              {draw.masked.begin(), draw.masked.end()},
                                              {draw.masked_too.begin(), draw.masked_too.end()},
                                              {draw.allowed.begin(), draw.allowed.end()}});
        draw.generation = &row.generation;
        draw.choices = row.choices;
        draw.counts = row.counts;
        draw.masked = row.masked;
        draw.masked_too = row.masked_too;
        draw.allowed = row.allowed;
        kept.draws.push_back(draw);
      }
      entry.tokens = kept.tokens;
      entry.blocks = kept.blocks;
      entry.draws = kept.draws;
      batch.push_back(entry);
    }
  }
  // The tokens that the step before drew, in their places; a row at fault gives any.
  void put_in(std::span<const TokenId> drawn, uint32_t vocabulary) {
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].last_drawn == BatchEntry::kNotDrawn) continue;
      const TokenId token = drawn[batch[i].last_drawn];
      kept_entries[i].tokens.back() = token < vocabulary ? token : 0;
    }
  }

  std::vector<std::function<void()>> copies;
  std::deque<Entry> kept_entries;
  std::vector<BatchEntry> batch;
  StepOutputs outputs;
  bool gives_values = false;
  std::chrono::steady_clock::time_point over_at;
};

std::chrono::steady_clock::time_point DrawingBackend::over_at() const {
  return queue_.front()->over_at;
}

void DrawingBackend::copy_block(BlockId from, BlockId to) {
  if (!info_.runs_ahead) return inner_.copy_block(from, to);
  copies_.push_back([this, from, to] { inner_.copy_block(from, to); });
}

Result<void> DrawingBackend::start(std::span<const BatchEntry> batch, const StepOutputs& outputs) {
  if (!info_.runs_ahead) return step(batch, outputs);
  CHECK(queue_.size() < 2);
  if (!queue_.empty()) ++steps_ahead_;
  for (const BatchEntry& entry : batch) {
    CHECK(entry.last_drawn == BatchEntry::kNotDrawn || !queue_.empty());
    CHECK(queue_.empty() || (!entry.hidden_rows && entry.draws.size() == entry.logits_rows));
  }
  CHECK(queue_.empty() || !queue_.front()->gives_values);
  std::ranges::fill(outputs.drawn_tokens, DrawnToken{0xffffffff, 0});
  std::ranges::fill(outputs.logits, std::numeric_limits<float>::quiet_NaN());
  auto queued = std::make_shared<Queued>(batch, outputs);
  queued->copies = std::exchange(copies_, {});
  queued->gives_values = !outputs.logits.empty() || !outputs.hidden.empty();
  free_from_ = std::max(free_from_, std::chrono::steady_clock::now()) + step_time;
  queued->over_at = free_from_;
  queue_.push_back(std::move(queued));
  return {};
}

Result<void> DrawingBackend::finish() {
  if (!info_.runs_ahead) return {};
  CHECK(!queue_.empty());
  const std::shared_ptr<Queued> queued = queue_.front();
  queue_.pop_front();
  std::this_thread::sleep_until(queued->over_at);
  for (const auto& copy : queued->copies) copy();
  queued->put_in(last_drawn_, info_.vocabulary);
  const auto begin = std::chrono::steady_clock::now();
  TRY(step(queued->batch, queued->outputs));
  at_work_ += step_time + (std::chrono::steady_clock::now() - begin);
  last_drawn_.clear();
  for (const DrawnToken& token : queued->outputs.drawn_tokens) last_drawn_.push_back(token.token);
  return {};
}

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
