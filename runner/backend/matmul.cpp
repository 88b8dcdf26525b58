#include "runner/backend/matmul.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

using kernels::kLogitsChunk;
using kernels::kRowsOfGroup;
using kernels::logits_chunks;
using kernels::MatmulArguments;
using kernels::PackedMatmulArguments;

constexpr size_t kUnitRows = 32;      // what a thread takes at the least: two groups of a packed matrix
constexpr size_t kTokenPartMin = 24;  // tokens that share what is unpacked of a packed matrix
// With many tokens a thread takes so many rows of a matrix that is not packed, which then stay in its caches,
// for so many tokens at the least: more than kernels take few at a time. Fewer rows where threads would have
// fewer such blocks each than are needed to end together.
constexpr size_t kWideRows = 256;
constexpr size_t kWideTokens = 36;
constexpr size_t kWideBlocksMin = 16;
constexpr size_t kRoundingChunk = 4;  // tokens
static_assert(kUnitRows % kRowsOfGroup == 0 && kLogitsChunk % kUnitRows == 0);
// Chunks of the vocabulary that are made before any of them is outlined, times the tokens: 64 KiB of logits.
constexpr size_t kOutlinePart = 64;
constexpr size_t kOutlineChunksMax = 8;  // enough for a stream of weights to be long

size_t units_of(const MatmulJob& job) {
  return (job.weights->rows + kUnitRows - 1) / kUnitRows;
}

bool is_packed(const MatmulJob& job) {
  return job.packed->data != nullptr;
}

}  // namespace

Matmul::Matmul(const kernels::Kernels& kernels, kernels::ThreadPool& threads, size_t inputs_max)
    : kernels_(kernels),
      threads_(threads),
      logits_kernels_(*kernels::find_logits_kernels("")),  // all give the same bits
      rounded_(kernels::input_blocks(inputs_max)) {}

void Matmul::round_for(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens) {
  if (std::none_of(jobs.begin(), jobs.end(), is_packed)) return;
  threads_.parallel_for(tokens, kRoundingChunk, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) round(inputs, jobs[0].weights->columns, t);
  });
}

void Matmul::multiply(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens,
                      const MatmulOptions& options) {
  if (!options.is_rounded) round_for(jobs, inputs, tokens);
  if (tokens >= kWideTokens && std::none_of(jobs.begin(), jobs.end(), is_packed))
    return multiply_wide(jobs, inputs, tokens, options.accumulate);
  size_t units = 0;
  for (const MatmulJob& job : jobs) units += units_of(job);
  const size_t parts = token_parts(units, tokens);
  threads_.parallel_ranges(units * parts, 1, [&](size_t begin, size_t end) {
    while (begin < end) {
      const size_t part = begin / units;
      const MatmulJob* job = jobs.data();
      size_t unit = begin % units;
      while (unit >= units_of(*job)) unit -= units_of(*job++);
      const size_t count = std::min(end - begin, units_of(*job) - unit);
      begin += count;
      const Range rows{unit * kUnitRows, std::min((unit + count) * kUnitRows, job->weights->rows)};
      const Range part_tokens{part * tokens / parts, (part + 1) * tokens / parts};
      multiply_rows(*job, rows, inputs, part_tokens, options.accumulate);
    }
  });
}

// Parts of the tokens follow one another, then comes the next block of rows: who goes on, keeps its weights.
void Matmul::multiply_wide(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens,
                           bool accumulate) {
  const size_t parts = tokens / kWideTokens;
  size_t block_rows = 2 * kWideRows, blocks = 0;
  const auto blocks_of = [&](const MatmulJob& job) {
    return (job.weights->rows + block_rows - 1) / block_rows;
  };
  do {
    block_rows /= 2;
    blocks = 0;
    for (const MatmulJob& job : jobs) blocks += blocks_of(job);
  } while (block_rows > kUnitRows && blocks * parts < kWideBlocksMin * threads_.threads());
  threads_.parallel_ranges(blocks * parts, 1, [&](size_t begin, size_t end) {
    while (begin < end) {
      const MatmulJob* job = jobs.data();
      size_t block = begin / parts;
      while (block >= blocks_of(*job)) block -= blocks_of(*job++);
      const size_t part = begin % parts, count = std::min(end - begin, parts - part);
      begin += count;
      const Range rows{block * block_rows, std::min((block + 1) * block_rows, job->weights->rows)};
      multiply_rows(*job, rows, inputs, {part * tokens / parts, (part + count) * tokens / parts}, accumulate);
    }
  });
}

void Matmul::multiply_logits(const MatmulJob& job, const float* inputs, const OutlineOutputs& outlines) {
  const size_t tokens = outlines.scales.size(), rows = job.weights->rows, chunks = logits_chunks(rows);
  const size_t part = std::clamp<size_t>(kOutlinePart / tokens, 1, kOutlineChunksMax);
  round_for({&job, 1}, inputs, tokens);
  threads_.parallel_ranges(chunks, 1, [&](size_t begin, size_t end) {
    for (size_t chunk_end = begin; begin < end; begin = chunk_end) {
      chunk_end = std::min(begin + part, end);
      const Range made{begin * kLogitsChunk, std::min(chunk_end * kLogitsChunk, rows)};
      multiply_rows(job, made, inputs, {0, tokens}, false);
      for (size_t t = 0; t < tokens; ++t) {
        const size_t first = t * chunks + begin;
        kernels::outline_logits(logits_kernels_, job.outputs + t * rows + made.begin, made.size(),
                                outlines.scales[t], outlines.largest + first, outlines.sums + first);
      }
    }
  });
}

void Matmul::outline(const float* logits, size_t vocabulary, const OutlineOutputs& outlines) {
  const size_t chunks = logits_chunks(vocabulary);
  threads_.parallel_for(outlines.scales.size(), 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      kernels::outline_logits(logits_kernels_, logits + t * vocabulary, vocabulary, outlines.scales[t],
                              outlines.largest + t * chunks, outlines.sums + t * chunks);
    }
  });
}

void Matmul::round(const float* inputs, size_t columns, size_t token) {
  kernels_.quantize_inputs(inputs + token * columns, columns,
                           &rounded_[token * kernels::input_blocks(columns)]);
}

// Into how many parts the tokens are cut: where there are few rows for the threads there are, more than one.
size_t Matmul::token_parts(size_t units, size_t tokens) const {
  const size_t threads = threads_.threads();
  if (threads == 1) return 1;
  const size_t missing = (4 * threads + units - 1) / units;
  return std::max<size_t>(1, std::min(missing, tokens / kTokenPartMin));
}

void Matmul::multiply_rows(const MatmulJob& job, const Range& rows, const float* inputs, const Range& tokens,
                           bool accumulate) const {
  const size_t columns = job.weights->columns, stride = job.weights->rows;
  if (!is_packed(job)) {
    MatmulArguments a;
    a.weights = *job.weights;
    a.row_begin = rows.begin;
    a.row_end = rows.end;
    a.inputs = inputs + tokens.begin * columns;
    a.input_stride = columns;
    a.tokens = tokens.size();
    a.outputs = job.outputs + tokens.begin * stride;
    a.output_stride = stride;
    a.bias = job.bias;
    a.accumulate = accumulate;
    a.parts = job.parts;
    return kernels_.matmul(a);
  }
  PackedMatmulArguments a;
  a.weights = *job.packed;
  a.group_begin = rows.begin / kRowsOfGroup;
  a.group_end = kernels::row_groups(rows.end);
  const kernels::InputBlock* rounded = job.rounded == nullptr ? rounded_.data() : job.rounded;
  a.inputs = rounded + tokens.begin * kernels::input_blocks(columns);
  a.tokens = tokens.size();
  a.outputs = job.outputs + tokens.begin * stride;
  a.output_stride = stride;
  a.bias = job.bias;
  a.accumulate = accumulate;
  a.parts = job.parts;
  kernels_.packed_matmul(a);
}

}  // namespace deepserve::runner
