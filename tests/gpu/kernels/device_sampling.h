// Rows that are drawn from on the GPU, and what is to come of them.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "kernels/cpu/logits.h"
#include "kernels/cuda/sampling.h"
#include "runner/engine/logprobs.h"
#include "runner/engine/sampler.h"
#include "tests/gpu/kernels/device_array.h"

namespace deepserve::kernels::cuda {

// One row with its request, as the engine has them.
struct RowRequest {
  std::vector<float> logits;
  ipc::Generation generation;
  std::vector<ipc::TokenId> prompt = {};
  std::vector<ipc::TokenId> answer = {};
  std::vector<ipc::TokenId> masked = {};
  std::vector<uint64_t> allowed = {};
  uint32_t index = 0;
  std::vector<uint16_t> choices = {0};

  runner::TokenCounts counts() const {
    runner::TokenCounts all(generation, prompt);
    for (const auto token : answer) all.add_generated(token);
    return all;
  }
};

struct RowOutcome {
  DrawnRow row;
  std::vector<RankedLogit> tokens;  // one for each choice
  std::vector<float> logits_after;
};

class DeviceSampling {
 public:
  // Of one vocabulary.
  explicit DeviceSampling(const std::vector<RowRequest>& requests) : requests_(requests) {
    vocabulary_ = static_cast<uint32_t>(requests.front().logits.size());
    for (const RowRequest& request : requests) add(request);
  }

  std::vector<RowOutcome> run() {
    const auto rows = static_cast<uint32_t>(rows_.size());
    // One row more than there are: its block has nothing to do.
    const size_t outline = (rows + 1) * logits_chunks(vocabulary_);
    DeviceArray<float> logits(logits_), undone(undone_), largest(outline), sums(outline);
    DeviceArray<float> raw_largest(outline), raw_sums(outline);
    DeviceArray<SampledRow> sampled(rows_);
    DeviceArray<uint32_t> row_count(std::vector<uint32_t>{rows});
    DeviceArray<uint16_t> choices(choices_);
    DeviceArray<RowState> states(std::vector<RowState>(rows, RowState{}));
    DeviceArray<DrawnRow> drawn(rows);
    DeviceArray<RankedLogit> tokens(choices_.size());
    const SamplingArguments arguments{.logits = logits.data(),
                                      .vocabulary = vocabulary_,
                                      .rows_max = rows + 1,
                                      .rows = sampled.data(),
                                      .row_count = row_count.data(),
                                      .choices = choices.data(),
                                      .states = states.data(),
                                      .undone = undone.data(),
                                      .largest = largest.data(),
                                      .sums = sums.data(),
                                      .raw_largest = raw_largest.data(),
                                      .raw_sums = raw_sums.data(),
                                      .drawn = drawn.data(),
                                      .tokens = tokens.data()};
    require(outline_rows(arguments, OutlineOf::kRaw, stream()));
    require(patch_rows(arguments, stream()));
    require(outline_rows(arguments, OutlineOf::kAdjusted, stream()));
    require(draw_tokens(arguments, stream()));
    return outcomes(drawn.values(), tokens.values(), logits.values());
  }

 private:
  template <typename T, typename From>
  const T* keep(std::deque<DeviceArray<T>>& arrays, const From& values) {
    if (values.empty()) return nullptr;
    return arrays.emplace_back(std::vector<T>(values.begin(), values.end())).data();
  }

  void add(const RowRequest& request) {
    const auto& generation = request.generation;
    const auto seen = request.counts();
    std::vector<TokenCount> counts;
    for (const auto& [token, generated] : seen.entries()) counts.push_back({token, generated});
    std::vector<TokenBias> biases;
    for (const auto& [token, bias] : generation.logit_bias) biases.push_back({token, bias});
    std::ranges::stable_sort(biases, {}, &TokenBias::token);
    const bool logprobs = generation.logprobs != ipc::kNoLogprobs;
    rows_.push_back({.row = static_cast<uint32_t>(rows_.size()),
                     .index = request.index,
                     .seed = generation.seed,
                     .temperature = generation.temperature,
                     .top_p = generation.top_p,
                     .min_p = generation.min_p,
                     .top_k = generation.top_k,
                     .presence_penalty = generation.presence_penalty,
                     .frequency_penalty = generation.frequency_penalty,
                     .repetition_penalty = generation.repetition_penalty,
                     .alternatives = logprobs ? generation.logprobs : kNoAlternatives,
                     .first_draw = static_cast<uint32_t>(choices_.size()),
                     .draws = static_cast<uint32_t>(request.choices.size()),
                     .counts = keep(counts_, counts),
                     .counts_size = static_cast<uint32_t>(counts.size()),
                     .biases_size = static_cast<uint32_t>(biases.size()),
                     .biases = keep(biases_, biases),
                     .masked = keep(masked_, request.masked),
                     .masked_size = static_cast<uint32_t>(request.masked.size()),
                     .first_undone = static_cast<uint32_t>(undone_.size()),
                     .allowed = keep(allowed_, request.allowed)});
    undone_.resize(undone_.size() + counts.size() + biases.size() + request.masked.size());
    choices_.insert(choices_.end(), request.choices.begin(), request.choices.end());
    logits_.insert(logits_.end(), request.logits.begin(), request.logits.end());
  }

  std::vector<RowOutcome> outcomes(const std::vector<DrawnRow>& drawn, const std::vector<RankedLogit>& tokens,
                                   const std::vector<float>& logits) const {
    std::vector<RowOutcome> all;
    for (size_t row = 0; row < rows_.size(); ++row) {
      RowOutcome one{drawn[row], {}, {}};
      const auto first = tokens.begin() + rows_[row].first_draw;
      one.tokens.assign(first, first + rows_[row].draws);
      const auto begin = logits.begin() + static_cast<ptrdiff_t>(row * vocabulary_);
      one.logits_after.assign(begin, begin + vocabulary_);
      all.push_back(std::move(one));
    }
    return all;
  }

  const std::vector<RowRequest>& requests_;
  uint32_t vocabulary_;
  std::vector<SampledRow> rows_;
  std::vector<float> logits_, undone_;
  std::vector<uint16_t> choices_;
  std::deque<DeviceArray<TokenCount>> counts_;
  std::deque<DeviceArray<TokenBias>> biases_;
  std::deque<DeviceArray<uint32_t>> masked_;
  std::deque<DeviceArray<uint64_t>> allowed_;
};

}  // namespace deepserve::kernels::cuda
