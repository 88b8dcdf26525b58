// Sums, and the largest or smallest, of what the threads of a block have: the same for all of them.
#pragma once

#include "kernels/cuda/ptx.cuh"
#include "kernels/token_weights.h"

namespace deepserve::kernels::cuda {

// How many tokens, and what they weigh.
struct Tally {
  TokenWeight weight = 0;
  uint32_t count = 0;

  __device__ void add(TokenWeight more) {
    weight += more;
    ++count;
  }
};

__device__ inline uint64_t warp_sum(uint64_t value) {
  constexpr unsigned kPartBits = 27;  // 32 of them fit into 32 bits
  constexpr uint64_t kPart = (1u << kPartBits) - 1;
  return warp_sum(static_cast<uint32_t>(value & kPart)) +
         (static_cast<uint64_t>(warp_sum(static_cast<uint32_t>(value >> kPartBits & kPart))) << kPartBits) +
         (static_cast<uint64_t>(warp_sum(static_cast<uint32_t>(value >> 2 * kPartBits))) << 2 * kPartBits);
}

// One for each thread; all threads of the block call the same functions in the same order. One barrier each:
// two places are used in turn, so that nobody overwrites what another thread still reads.
template <unsigned kThreads>
class BlockTally {
 public:
  static constexpr unsigned kWarps = kThreads / 32;
  struct Scratch {
    Tally places[2][kWarps];
  };
  __device__ explicit BlockTally(Scratch& scratch) : scratch_(scratch) {}

  __device__ Tally sum(const Tally& mine) {
    const Tally* all = share({warp_sum(mine.weight), warp_sum(mine.count)});
    Tally total;
    for (unsigned warp = 0; warp < kWarps; ++warp) {
      total.weight += all[warp].weight;
      total.count += all[warp].count;
    }
    return total;
  }
  __device__ uint32_t largest(uint32_t mine) {
    const Tally* all = share({0, warp_largest(mine)});
    uint32_t best = 0;
    for (unsigned warp = 0; warp < kWarps; ++warp) best = best < all[warp].count ? all[warp].count : best;
    return best;
  }
  __device__ uint32_t smallest(uint32_t mine) { return ~largest(~mine); }

 private:
  __device__ const Tally* share(const Tally& of_warp) {
    Tally* places = scratch_.places[round_ % 2];
    ++round_;
    if (lane_index() == 0) places[threadIdx.x / 32] = of_warp;
    __syncthreads();
    return places;
  }

  Scratch& scratch_;
  unsigned round_ = 0;
};

// Of elements that are in an order (a larger ordinal comes earlier): the least ordinal of those, from the
// first on, that together have `wanted` of something, which all of them have.
struct Selection {
  uint64_t ordinal;
  TokenWeight before;  // of the something, what the earlier ones have
};

// for_each(f) calls f(ordinal, weight) for each element of this thread's; each element belongs to one thread.
// All ordinals lie in [low, high); `all` is what the elements come to. kWeights: the something is the weight,
// otherwise the number.
template <bool kWeights, unsigned kThreads, typename ForEach>
__device__ Selection select_first(BlockTally<kThreads>& block, const ForEach& for_each, uint64_t low,
                                  uint64_t high, const Tally& all, TokenWeight wanted) {
  Tally from_low = all, from_high;
  const auto amount = [](const Tally& tally) { return kWeights ? tally.weight : tally.count; };
  while (high - low > 1 && from_low.count - from_high.count > 1) {
    const uint64_t middle = low + (high - low) / 2;
    Tally mine;
    for_each([&](uint64_t ordinal, TokenWeight weight) {
      if (ordinal >= middle) mine.add(weight);
    });
    const Tally from_middle = block.sum(mine);
    if (amount(from_middle) >= wanted) {
      low = middle;
      from_low = from_middle;
    } else {
      high = middle;
      from_high = from_middle;
    }
  }
  if (high - low > 1) {  // one element is left: the sum of all ordinals there is its own
    Tally mine;
    for_each([&](uint64_t ordinal, TokenWeight) {
      if (ordinal >= low && ordinal < high) mine.weight += ordinal;
    });
    low = block.sum(mine).weight;
  }
  return {low, amount(from_high)};
}

}  // namespace deepserve::kernels::cuda
