// Products of a step's rows of inputs with the model's matrices, stored or packed, on all threads.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/logits.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/backend/shard.h"

namespace deepserve::runner {

struct MatmulJob {
  const kernels::Matrix* weights;
  const kernels::PackedMatrix* packed;  // of the same matrix; the one that is used where it has data
  const float* bias;                    // [weights.rows], or nullptr
  float* outputs;                       // [tokens, weights.rows]
  kernels::ColumnParts parts = {};
  // The inputs as they were rounded by somebody else [tokens, columns / kInputBlock]; nullptr: by round().
  const kernels::InputBlock* rounded = nullptr;
};

struct MatmulOptions {
  bool accumulate = false;  // outputs += instead of =
  bool is_rounded = false;  // round() was called for each of the inputs
};

// Where the outlines of rows of logits go (kernels/cpu/logits.h).
struct OutlineOutputs {
  std::span<const float> scales;  // [rows]
  float* largest;                 // [rows, logits_chunks(vocabulary)]
  float* sums;                    // the same
};

class Matmul {
 public:
  // Both must outlive the object. `inputs_max`: the most numbers that are rounded at a time, for which memory
  // is allocated here; 0 when nothing is packed.
  Matmul(const kernels::Kernels& kernels, kernels::ThreadPool& threads, size_t inputs_max);

  // Applies matrices to the same inputs [tokens, columns]; the rows of all of them are shared
  // among the threads. How they are cut changes no bit.
  void multiply(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens,
                const MatmulOptions& options);

  // One matrix, that of the vocabulary, applied to inputs [rows, columns] that are not rounded. Each row of
  // logits is outlined part by part, where and when it is made.
  void multiply_logits(const MatmulJob& job, const float* inputs, const OutlineOutputs& outlines);
  // The same outlines of `logits` [rows, vocabulary] that are there already.
  void outline(const float* logits, size_t vocabulary, const OutlineOutputs& outlines);

  // Rounds row `token` of `inputs` [tokens, columns] for a packed matrix: for who has just computed it. From
  // any thread, each row once.
  void round(const float* inputs, size_t columns, size_t token);

 private:
  void round_for(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens);
  void multiply_wide(std::span<const MatmulJob> jobs, const float* inputs, size_t tokens, bool accumulate);
  size_t token_parts(size_t units, size_t tokens) const;
  void multiply_rows(const MatmulJob& job, const Range& rows, const float* inputs, const Range& tokens,
                     bool accumulate) const;

  const kernels::Kernels& kernels_;
  kernels::ThreadPool& threads_;
  const kernels::LogitsKernels& logits_kernels_;
  std::vector<kernels::InputBlock> rounded_;  // [tokens, columns / kInputBlock]
};

}  // namespace deepserve::runner
