// What is done to rows of logits before tokens are drawn from them: their outlines, and the patches of those
// that are drawn from otherwise than the model says.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logit.cuh"
#include "kernels/cuda/sampling.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kOutlineThreads = 128;
constexpr unsigned kPatchThreads = 256;
// Weight i of a chunk goes into lane i % 16, the lanes are joined as a tree (kernels/cpu/logits.h): a thread
// is a lane, half a warp a chunk.
constexpr unsigned kLanes = 16;
constexpr unsigned kLaneValues = kChunk / kLanes;
constexpr unsigned kBlockChunks = kOutlineThreads / kLanes;

__device__ float lanes_largest(float value) {
  for (unsigned half = kLanes / 2; half > 0; half /= 2) {
    const float other = shuffle_xor(value, half);
    value = other > value ? other : value;
  }
  return value;
}

__device__ float chunk_sum(const float (&values)[kLaneValues], float largest, float scale) {
  float sum = 0;
#pragma unroll
  for (const float value : values) sum += weight_beside(value, largest, scale);
  for (unsigned half = kLanes / 2; half > 0; half /= 2) sum += shuffle_xor(sum, half);
  return sum;
}

// The values of one lane of a chunk, those that may not be drawn as -infinity; sets what they say of the row.
__device__ float take_lane(const SamplingArguments& arguments, const SampledRow& row, uint32_t first,
                           bool adjusted, float (&values)[kLaneValues]) {
  const float* logits = arguments.logits + size_t{row.row} * arguments.vocabulary;
  RowState& state = arguments.states[blockIdx.y];
  float best = minus_infinity();
  uint32_t bad = kNoBadToken;
  bool alive = false;
#pragma unroll
  for (unsigned i = 0; i < kLaneValues; ++i) {
    const uint32_t token = first + i * kLanes;
    values[i] = token < arguments.vocabulary ? logits[token] : minus_infinity();
  }
#pragma unroll
  for (unsigned i = 0; i < kLaneValues; ++i) {
    const uint32_t token = first + i * kLanes;
    if (!is_logit(values[i])) bad = token < bad ? token : bad;
    alive |= values[i] > minus_infinity();
    if (adjusted && token < arguments.vocabulary && !is_allowed(row, token)) values[i] = minus_infinity();
    best = values[i] > best ? values[i] : best;
  }
  if (bad != kNoBadToken) keep_least(&state.bad_token, bad);
  if (alive && state.alive == 0) state.alive = 1;  // by whom makes no difference
  return best;
}

// blockIdx.x: kBlockChunks chunks; blockIdx.y: a row.
__global__ void __launch_bounds__(kOutlineThreads)
    outline_kernel(const __grid_constant__ SamplingArguments arguments, const bool adjusted) {
  begin_in_turn();
  if (blockIdx.y >= *arguments.row_count) return;
  const SampledRow& row = arguments.rows[blockIdx.y];
  const bool for_draw = is_adjusted(row) == adjusted;
  const bool for_logprobs = !adjusted && row.alternatives != kNoAlternatives;
  if (!for_draw && !for_logprobs) return;
  const uint32_t chunks = chunks_of(arguments.vocabulary);
  const uint32_t chunk = blockIdx.x * kBlockChunks + threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  float values[kLaneValues];
  const float largest = lanes_largest(take_lane(arguments, row, chunk * kChunk + lane, adjusted, values));
  const size_t at = size_t{blockIdx.y} * chunks + chunk;
  const bool writes = lane == 0 && chunk < chunks;
  if (for_draw) {
    const bool sums = needs_sums(row, arguments.vocabulary);
    const float sum = sums ? chunk_sum(values, largest, scale_of(row.temperature)) : 0.0f;
    if (writes) arguments.largest[at] = largest;
    if (writes && sums) arguments.sums[at] = sum;
  }
  if (for_logprobs) {
    const float sum = chunk_sum(values, largest, 1);
    if (writes) arguments.raw_largest[at] = largest;
    if (writes) arguments.raw_sums[at] = sum;
  }
}

__device__ void put_penalty(const SampledRow& row, const TokenCount& count, float* logits) {
  float logit = logits[count.token];
  logit = logit > 0 ? logit / row.repetition_penalty : rounded_product(logit, row.repetition_penalty);
  logit -= rounded_product(row.frequency_penalty, static_cast<float>(count.generated));
  if (count.generated > 0) logit -= row.presence_penalty;
  logits[count.token] = logit;
}

// All biases of the token that the i-th is the first of.
__device__ void put_biases(const SampledRow& row, uint32_t i, uint32_t vocabulary, float* logits) {
  const uint32_t token = row.biases[i].token;
  if (token >= vocabulary || (i > 0 && row.biases[i - 1].token == token)) return;
  float logit = logits[token];
  for (; i < row.biases_size && row.biases[i].token == token; ++i) logit += row.biases[i].bias;
  logits[token] = logit;
}

// What it was is kept first, then each kind of patch goes over what the one before left.
__global__ void __launch_bounds__(kPatchThreads)
    patch_kernel(const __grid_constant__ SamplingArguments arguments) {
  begin_in_turn();
  if (blockIdx.x >= *arguments.row_count) return;
  const SampledRow& row = arguments.rows[blockIdx.x];
  const uint32_t patches = patches_of(row), vocabulary = arguments.vocabulary;
  if (patches == 0) return;
  float* logits = arguments.logits + size_t{row.row} * vocabulary;
  RowState& state = arguments.states[blockIdx.x];
  for (uint32_t i = threadIdx.x; i < patches; i += kPatchThreads) {
    const uint32_t token = patched_token(row, i);
    if (token >= vocabulary) continue;
    const float raw = logits[token];
    arguments.undone[row.first_undone + i] = raw;
    if (!is_logit(raw)) keep_least(&state.bad_token, token);
    if (raw > minus_infinity() && state.alive == 0) state.alive = 1;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < row.counts_size; i += kPatchThreads) {
    if (row.counts[i].token < vocabulary) put_penalty(row, row.counts[i], logits);
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < row.biases_size; i += kPatchThreads) {
    put_biases(row, i, vocabulary, logits);
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < row.masked_size; i += kPatchThreads) {
    if (row.masked[i] < vocabulary) logits[row.masked[i]] = minus_infinity();
  }
  __syncthreads();
  // The outline is to find the model's faults alone.
  for (uint32_t i = threadIdx.x; i < row.counts_size + row.biases_size; i += kPatchThreads) {
    const uint32_t token = patched_token(row, i);
    if (token >= vocabulary || is_logit(logits[token])) continue;
    if (is_allowed(row, token)) state.overflowed = 1;
    logits[token] = minus_infinity();
  }
}

}  // namespace

cudaError_t outline_rows(const SamplingArguments& arguments, OutlineOf what, cudaStream_t stream) {
  const size_t chunks = logits_chunks(arguments.vocabulary);
  const auto blocks = static_cast<uint32_t>((chunks + kBlockChunks - 1) / kBlockChunks);
  return launch_kernel({{blocks, arguments.rows_max, 1}, {kOutlineThreads, 1, 1}, 0, stream}, outline_kernel,
                       arguments, what == OutlineOf::kAdjusted);
}

cudaError_t patch_rows(const SamplingArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.rows_max, 1, 1}, {kPatchThreads, 1, 1}, 0, stream}, patch_kernel,
                       arguments);
}

}  // namespace deepserve::kernels::cuda
