// Passes over one row of logits [vocabulary], for the sampler: one table of functions per instruction set.
//
// A row is looked at in chunks of kLogitsChunk tokens, whose largest values say afterwards where to look
// again: most questions ("the 40 largest") then read a small part of the row. Unlike the model's arithmetic
// these functions give the same bits with every instruction set: every value comes from the same operations,
// and every sum has the order that is written here, so that a draw never depends on the machine.
//
// Rows need no alignment; nothing is read beyond `count` values. The functions allocate nothing and are
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/exponential.h"

namespace deepserve::kernels {

inline constexpr size_t kLogitsChunk = 256;  // tokens; of the last chunk, what is left
constexpr size_t logits_chunks(size_t count) {
  return (count + kLogitsChunk - 1) / kLogitsChunk;
}

struct LogitsKernels {
  const char* isa;  // "scalar", "avx2", "avx512"

  // largest[chunk] = the largest logit of each chunk. False: some logit is NaN or +infinity, `largest` says
  // nothing.
  bool (*find_largest)(const float* logits, size_t count, float* largest);

  // As find_largest, of the logits whose bit of `allowed` [ceil(count / 64)] is set; the others become
  // -infinity in `masked` [count]. A chunk without any allowed one is not written: its largest is -infinity.
  bool (*mask)(const float* logits, size_t count, const uint64_t* allowed, float* masked, float* largest);

  // Writes the indices of all logits >= threshold, in their order, and returns how many. Reads no chunk whose
  // `largest` is below it. `indices`: [count + 16], the last of which may be scribbled over.
  size_t (*collect)(const float* logits, size_t count, const float* largest, float threshold,
                    uint32_t* indices);

  // weights[i] = exp((logits[i] - offset) * scale), zero where the exponent is below kExponentMin; no logit
  // may be above `offset`. Relative error below 2^-22 and that of the exponent's rounding to float32.
  void (*exponentials)(const float* logits, size_t count, float offset, float scale, float* weights);

  // sums[chunk] = the sum of its exponentials, `largest` of the chunk as their offset: weight i of the chunk
  // into lane i % 16, the lanes joined as a tree. 0 for a chunk of -infinity, which is not read.
  void (*sum_exponentials)(const float* logits, size_t count, const float* largest, float scale, float* sums);
};

// The table for `isa`; "" is the best that this CPU has. nullptr: not built in, or this CPU lacks it.
const LogitsKernels* find_logits_kernels(std::string_view isa);

// The outline of a row, which whoever computes logits makes while they are in the nearest cache, so that few
// of them have to be read again: each chunk's largest and, where `scale` is not 0, `sums` [chunks] at that
// scale. Where some logit is NaN or +infinity, `largest` is +infinity and `sums` says nothing.
void outline_logits(const LogitsKernels& kernels, const float* logits, size_t count, float scale,
                    float* largest, float* sums);

}  // namespace deepserve::kernels
