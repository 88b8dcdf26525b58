#include "runner/backend/cuda/step_draws.h"

#include <algorithm>

#include "ipc/base/check.h"
#include "kernels/cpu/logits.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::cuda::DrawnRow;
using kernels::cuda::OutlineOf;
using kernels::cuda::RowFault;
using kernels::cuda::RowState;
using kernels::cuda::SampledRow;
using kernels::cuda::SamplingArguments;

constexpr uint64_t kBytesAtFirst = 1 << 20;         // of what grows
constexpr uint64_t kResultsBytesAtFirst = 1 << 16;  // of some 300 sequences

static_assert(runner::kAlternativesMax == kernels::cuda::kAlternativesMax);

DrawFault fault_of(RowFault fault) {
  switch (fault) {
    case RowFault::kNone:
      return DrawFault::kNone;
    case RowFault::kNotALogit:
      return DrawFault::kNotALogit;
    case RowFault::kAllZero:
      return DrawFault::kAllZero;
    case RowFault::kNothingLeft:
      break;
  }
  return DrawFault::kNothingLeft;
}

}  // namespace

uint64_t StepDraws::carve(uint8_t* memory, Outlines& outlines) const {
  const uint64_t values = piece_rows_ * kernels::logits_chunks(vocabulary_);
  Carver carver(memory);
  for (float** array : {&outlines.largest, &outlines.sums, &outlines.raw_largest, &outlines.raw_sums}) {
    *array = carver.take<float>(values);
  }
  return carver.used_bytes();
}

uint64_t StepDraws::carve(uint8_t* memory, const Sizes& sizes, Arrays& arrays) {
  Carver carver(memory);
  arrays.rows = carver.take<SampledRow>(sizes.rows);
  arrays.states = carver.take<RowState>(sizes.rows);
  arrays.row_counts = carver.take<uint32_t>(sizes.pieces);
  arrays.choices = carver.take<uint16_t>(sizes.choices);
  arrays.counts = carver.take<kernels::cuda::TokenCount>(sizes.counts);
  arrays.biases = carver.take<kernels::cuda::TokenBias>(sizes.biases);
  arrays.masked = carver.take<uint32_t>(sizes.masked);
  arrays.masks = carver.take<uint64_t>(sizes.mask_words);
  return carver.used_bytes();
}

uint64_t StepDraws::carve(uint8_t* memory, const Sizes& sizes, Results& results) {
  Carver carver(memory);
  results.tokens = carver.take<kernels::cuda::RankedLogit>(sizes.choices);
  results.rows = carver.take<DrawnRow>(sizes.rows);
  return carver.used_bytes();
}

uint64_t StepDraws::memory_bytes(uint32_t vocabulary, uint32_t piece_rows) {
  StepDraws draws;
  draws.vocabulary_ = vocabulary;
  draws.piece_rows_ = piece_rows;
  return draws.carve(nullptr, draws.outlines_) + 3 * kBytesAtFirst + 2 * kResultsBytesAtFirst;
}

Result<StepDraws> StepDraws::make(uint32_t vocabulary, uint32_t piece_rows) {
  StepDraws draws;
  draws.vocabulary_ = vocabulary;
  draws.piece_rows_ = piece_rows;
  TRY_ASSIGN(draws.outline_memory_,
             DeviceMemory::make(draws.carve(nullptr, draws.outlines_), "outlines of logits"));
  draws.carve(draws.outline_memory_.data(), draws.outlines_);
  TRY_ASSIGN(draws.undone_, DeviceMemory::make(kBytesAtFirst, "patches of logits"));
  for (Side& side : draws.sides_) {
    TRY_ASSIGN(side.memory, DeviceMemory::make(kBytesAtFirst, "draws"));
    TRY_ASSIGN(side.pinned, PinnedMemory::make(kBytesAtFirst));
    TRY_ASSIGN(side.results, DeviceMemory::make(kResultsBytesAtFirst, "drawn tokens"));
    TRY_ASSIGN(side.fetched, PinnedMemory::make(kResultsBytesAtFirst));
  }
  return draws;
}

StepDraws::Sizes StepDraws::sizes_of(std::span<const BatchEntry> batch, uint32_t piece_rows) {
  Sizes sizes;
  uint64_t all_rows = 0;
  for (const BatchEntry& entry : batch) {
    all_rows += entry.logits_rows;
    sizes.rows += entry.draws.size();
    for (const RowDraw& draw : entry.draws) {
      sizes.choices += draw.choices.size();
      sizes.counts += draw.counts.size();
      sizes.biases += draw.generation->logit_bias.size();
      sizes.masked += draw.masked.size() + draw.masked_too.size();
      sizes.mask_words += draw.allowed.size();
    }
  }
  sizes.pieces = (all_rows + piece_rows - 1) / piece_rows;
  return sizes;
}

// The bytes that are to be copied to the GPU.
Result<uint64_t> StepDraws::make_room(Side& side) {
  const uint64_t bytes = carve(nullptr, side.sizes, side.host);
  if (bytes > side.memory.bytes()) {
    TRY_ASSIGN(side.pinned, PinnedMemory::make(2 * bytes));
    TRY_ASSIGN(side.memory, DeviceMemory::make(2 * bytes, "draws"));  // last: its size says what there is
  }
  carve(side.pinned.data(), side.sizes, side.host);
  carve(side.memory.data(), side.sizes, side.device);
  const uint64_t undone_bytes = (side.sizes.counts + side.sizes.biases + side.sizes.masked) * sizeof(float);
  if (undone_bytes > undone_.bytes()) {
    TRY_ASSIGN(undone_, DeviceMemory::make(2 * undone_bytes, "patches of logits"));
  }
  side.results_bytes = carve(nullptr, side.sizes, side.host_results);
  if (side.results_bytes > side.results.bytes()) {
    TRY_ASSIGN(side.fetched, PinnedMemory::make(2 * side.results_bytes));
    TRY_ASSIGN(side.results, DeviceMemory::make(2 * side.results_bytes, "drawn tokens"));
    ++places_;
  }
  carve(side.fetched.data(), side.sizes, side.host_results);
  carve(side.results.data(), side.sizes, side.device_results);
  return bytes;
}

// `row` of its piece; `at`: how much is there already.
void StepDraws::add(const RowDraw& draw, uint32_t row, Sizes& at) {
  const auto& generation = *draw.generation;
  const bool logprobs = generation.logprobs != ipc::kNoLogprobs;
  const auto size = [](uint64_t count) { return static_cast<uint32_t>(count); };
  const Arrays &host = sides_[side_].host, &device = sides_[side_].device;
  SampledRow& to = host.rows[at.rows];
  to = {.row = row,
        .index = draw.index,
        .seed = generation.seed,
        .temperature = generation.temperature,
        .top_p = generation.top_p,
        .min_p = generation.min_p,
        .top_k = generation.top_k,
        .presence_penalty = generation.presence_penalty,
        .frequency_penalty = generation.frequency_penalty,
        .repetition_penalty = generation.repetition_penalty,
        .alternatives = logprobs ? generation.logprobs : kernels::cuda::kNoAlternatives,
        .first_draw = size(at.choices),
        .draws = size(draw.choices.size()),
        .counts = device.counts + at.counts,
        .counts_size = size(draw.counts.size()),
        .biases_size = size(generation.logit_bias.size()),
        .biases = device.biases + at.biases,
        .masked = device.masked + at.masked,
        .masked_size = size(draw.masked.size() + draw.masked_too.size()),
        .first_undone = size(at.counts + at.biases + at.masked),
        .allowed = draw.allowed.empty() ? nullptr : device.masks + at.mask_words};
  CHECK(draw.allowed.empty() || draw.allowed.size() == (vocabulary_ + 63) / 64);
  CHECK(!logprobs || generation.logprobs <= kAlternativesMax);
  adjusts_ |= to.allowed != nullptr || to.counts_size + to.biases_size + to.masked_size != 0;
  host.states[at.rows++] = {};
  for (const uint16_t choice : draw.choices) host.choices[at.choices++] = choice;
  for (const auto& [token, generated] : draw.counts) host.counts[at.counts++] = {token, generated};
  for (const auto& [token, bias] : generation.logit_bias) host.biases[at.biases++] = {token, bias};
  for (const auto tokens : {draw.masked, draw.masked_too}) {
    for (const TokenId token : tokens) host.masked[at.masked++] = token;
  }
  std::ranges::copy(draw.allowed, host.masks + at.mask_words);
  at.mask_words += draw.allowed.size();
}

void StepDraws::fill(std::span<const BatchEntry> batch) {
  Sizes at;
  uint32_t row = 0;
  adjusts_ = false;
  piece_begins_.assign(1, 0);
  const auto end_piece = [&] {
    sides_[side_].host.row_counts[piece_begins_.size() - 1] =
        static_cast<uint32_t>(at.rows) - piece_begins_.back();
    piece_begins_.push_back(static_cast<uint32_t>(at.rows));
  };
  for (const BatchEntry& entry : batch) {
    CHECK(entry.draws.empty() || entry.draws.size() == entry.logits_rows);
    for (uint32_t i = 0; i < entry.logits_rows; ++i, ++row) {
      if (row != 0 && row % piece_rows_ == 0) end_piece();
      if (!entry.draws.empty()) add(entry.draws[i], row % piece_rows_, at);
    }
  }
  if (row != 0) end_piece();
}

Result<void> StepDraws::send(std::span<const BatchEntry> batch, size_t side_number, cudaStream_t stream) {
  side_ = side_number;
  Side& side = sides_[side_];
  side.sizes = sizes_of(batch, piece_rows_);
  if (side.sizes.rows == 0) return {};
  TRY_ASSIGN(const uint64_t bytes, make_room(side));
  fill(batch);
  return checked(
      cudaMemcpyAsync(side.memory.data(), side.pinned.data(), bytes, cudaMemcpyHostToDevice, stream),
      "sending draws to the GPU");
}

Result<void> StepDraws::run(uint32_t piece, float* logits, cudaStream_t stream) const {
  const Side& side = sides_[side_];
  if (side.sizes.rows == 0) return {};
  const uint32_t begin = piece_begins_[piece], count = piece_begins_[piece + 1] - begin;
  if (count == 0) return {};
  const SamplingArguments arguments{.logits = logits,
                                    .vocabulary = vocabulary_,
                                    .rows_max = count,
                                    .rows = side.device.rows + begin,
                                    .row_count = side.device.row_counts + piece,
                                    .choices = side.device.choices,
                                    .states = side.device.states + begin,
                                    .undone = reinterpret_cast<float*>(undone_.data()),
                                    .largest = outlines_.largest,
                                    .sums = outlines_.sums,
                                    .raw_largest = outlines_.raw_largest,
                                    .raw_sums = outlines_.raw_sums,
                                    .drawn = side.device_results.rows + begin,
                                    .tokens = side.device_results.tokens};
  TRY(launched(kernels::cuda::outline_rows(arguments, OutlineOf::kRaw, stream)));
  if (adjusts_) {
    TRY(launched(kernels::cuda::patch_rows(arguments, stream)));
    TRY(launched(kernels::cuda::outline_rows(arguments, OutlineOf::kAdjusted, stream)));
  }
  return launched(kernels::cuda::draw_tokens(arguments, stream));
}

Result<void> StepDraws::fetch(cudaStream_t stream) const {
  const Side& side = sides_[side_];
  if (side.sizes.rows == 0) return {};
  return checked(cudaMemcpyAsync(side.fetched.data(), side.results.data(), side.results_bytes,
                                 cudaMemcpyDeviceToHost, stream),
                 "fetching drawn tokens");
}

void StepDraws::take(size_t side_number, const StepOutputs& outputs) const {
  const Side& side = sides_[side_number];
  CHECK(outputs.drawn_rows.size() == side.sizes.rows && outputs.drawn_tokens.size() == side.sizes.choices);
  for (uint64_t row = 0; row < side.sizes.rows; ++row) {
    const DrawnRow& from = side.host_results.rows[row];
    runner::DrawnRow& to = outputs.drawn_rows[row];
    to = {.fault = fault_of(from.fault), .bad_token = from.bad_token, .bad_logit = from.bad_logit};
    const bool logprobs = side.host.rows[row].alternatives != kernels::cuda::kNoAlternatives;
    if (to.fault != DrawFault::kNone || !logprobs) continue;
    to.best = from.best;
    to.total = from.total;
    to.alternatives_size = from.alternatives_size;
    for (uint32_t i = 0; i < from.alternatives_size; ++i) {
      to.alternatives[i] = {from.alternatives[i].token, from.alternatives[i].logit};
    }
  }
  for (uint64_t i = 0; i < side.sizes.choices; ++i) {
    outputs.drawn_tokens[i] = {side.host_results.tokens[i].token, side.host_results.tokens[i].logit};
  }
}

}  // namespace deepserve::runner::cuda
