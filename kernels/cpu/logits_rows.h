// The passes of logits.h over any kind of 16 lanes. Included by one translation unit for each instruction
// set, which defines the type `Lanes` in an unnamed namespace: everything here is then private to it, and no
// copy can be linked into code that runs on other CPUs.
//
// Lanes: load(from), load_first(from, n, fill), all(value), add, subtract, multiply, multiply_add (a * b + c,
// rounded once), larger, at_least(a, b) -> a bit for each lane, keep(lanes, bits) (the others zero),
// choose(bits, a, b) (else b), times_power(a, n) with n of kRounder + integer, store_first(to, n),
// store_indices(base, bits, to), largest(), sum() (the halves added until one is left).
#pragma once

#include "kernels/cpu/logits.h"
#include "kernels/exponential.h"

namespace deepserve::kernels {

namespace {

constexpr size_t kWidth = 16;
constexpr unsigned kAllLanes = 0xffff;

inline size_t lesser(size_t a, size_t b) {
  return a < b ? a : b;
}

inline unsigned lanes_below(size_t count) {
  return count >= kWidth ? kAllLanes : (1u << count) - 1;
}

bool find_largest(const float* logits, size_t count, float* largest) {
  const Lanes infinity = Lanes::all(__builtin_inff());
  const Lanes minus_infinity = Lanes::all(-__builtin_inff());
  unsigned sound = kAllLanes;
  for (size_t begin = 0; begin < count; begin += kLogitsChunk) {
    const size_t end = lesser(begin + kLogitsChunk, count);
    Lanes best = minus_infinity;
    size_t i = begin;
    for (; i + kWidth <= end; i += kWidth) {
      const Lanes values = Lanes::load(logits + i);
      sound &= Lanes::below(values, infinity);
      best = Lanes::larger(values, best);
    }
    if (i < end) {
      const Lanes values = Lanes::load_first(logits + i, end - i, -__builtin_inff());
      sound &= Lanes::below(values, infinity);
      best = Lanes::larger(values, best);
    }
    largest[begin / kLogitsChunk] = best.largest();
  }
  return sound == kAllLanes;
}

bool mask(const float* logits, size_t count, const uint64_t* allowed, float* masked, float* largest) {
  static_assert(kLogitsChunk % 64 == 0);
  const Lanes infinity = Lanes::all(__builtin_inff());
  const Lanes minus_infinity = Lanes::all(-__builtin_inff());
  unsigned sound = kAllLanes;
  for (size_t begin = 0; begin < count; begin += kLogitsChunk) {
    const size_t end = lesser(begin + kLogitsChunk, count);
    uint64_t any = 0;
    for (size_t word = begin / 64; word * 64 < end; ++word) any |= allowed[word];
    Lanes best = minus_infinity;
    for (size_t i = begin; any != 0 && i < end; i += kWidth) {
      const size_t lanes = lesser(kWidth, end - i);
      const unsigned bits = static_cast<unsigned>(allowed[i / 64] >> i % 64) & lanes_below(lanes);
      const Lanes values =
          Lanes::choose(bits, Lanes::load_first(logits + i, lanes, -__builtin_inff()), minus_infinity);
      sound &= Lanes::below(values, infinity);
      best = Lanes::larger(values, best);
      values.store_first(masked + i, lanes);
    }
    largest[begin / kLogitsChunk] = best.largest();
  }
  return sound == kAllLanes;
}

size_t collect(const float* logits, size_t count, const float* largest, float threshold, uint32_t* indices) {
  constexpr size_t kAhead = 8;  // chunks that are on their way while one is looked at
  const Lanes bound = Lanes::all(threshold);
  size_t found = 0, asked = 0;
  const auto ask = [&] {
    for (; asked < count && !(largest[asked / kLogitsChunk] >= threshold); asked += kLogitsChunk) {
    }
    if (asked >= count) return;
    const size_t end = lesser(asked + kLogitsChunk, count);
    for (; asked < end; asked += kWidth) __builtin_prefetch(logits + asked);
  };
  for (size_t i = 0; i < kAhead; ++i) ask();
  for (size_t begin = 0; begin < count; begin += kLogitsChunk) {
    if (!(largest[begin / kLogitsChunk] >= threshold)) continue;
    ask();
    const size_t end = lesser(begin + kLogitsChunk, count);
    for (size_t i = begin; i < end; i += kWidth) {
      const size_t lanes = lesser(kWidth, end - i);
      const Lanes values = Lanes::load_first(logits + i, lanes, -__builtin_inff());
      const unsigned bits = Lanes::at_least(values, bound) & lanes_below(lanes);
      if (bits != 0) found += Lanes::store_indices(static_cast<uint32_t>(i), bits, indices + found);
    }
  }
  return found;
}

void exponentials(const float* logits, size_t count, float offset, float scale, float* weights) {
  for (size_t i = 0; i < count; i += kWidth) {
    const size_t lanes = lesser(kWidth, count - i);
    const Lanes values = Lanes::load_first(logits + i, lanes, offset);
    exponential_weight(values, Lanes::all(offset), Lanes::all(scale)).store_first(weights + i, lanes);
  }
}

void sum_exponentials(const float* logits, size_t count, const float* largest, float scale, float* sums) {
  const Lanes scales = Lanes::all(scale);
  for (size_t begin = 0; begin < count; begin += kLogitsChunk) {
    const size_t chunk = begin / kLogitsChunk;
    sums[chunk] = 0;
    if (largest[chunk] == -__builtin_inff()) continue;
    const Lanes offsets = Lanes::all(largest[chunk]);
    const size_t end = lesser(begin + kLogitsChunk, count);
    Lanes sum = Lanes::all(0);
    size_t i = begin;
    for (; i + kWidth <= end; i += kWidth) {
      sum = Lanes::add(sum, exponential_weight(Lanes::load(logits + i), offsets, scales));
    }
    if (i < end) {
      const Lanes weights =
          exponential_weight(Lanes::load_first(logits + i, end - i, -__builtin_inff()), offsets, scales);
      sum = Lanes::add(sum, weights);
    }
    sums[chunk] = sum.sum();
  }
}

constexpr LogitsKernels kTable = {Lanes::kIsa, find_largest, mask, collect, exponentials, sum_exponentials};

}  // namespace
}  // namespace deepserve::kernels
