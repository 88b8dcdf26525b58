// The functions of kernels/cuda/ptx.cuh for the emulator: the same results, thread for thread. Sums of the
// tensor cores are taken in float32 in the order of k; a GPU's own order is not written down.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "kernels/cpu/float16.h"
#include "tests/gpu/emulator/grid.h"

namespace deepserve::kernels::cuda {

inline uint8_t* dynamic_shared() {
  return emulator::dynamic_shared_memory();
}
inline unsigned lane_index() {
  return emulator::lane_index();
}

inline void wait_for_kernels_before() {
  emulator::wait_for_grids_before();
}
inline void let_next_kernel_begin() {}
// Where AddressSanitizer looks, a line that is not there is an error.
inline void prefetch(const void* global) {
  (void)*static_cast<const volatile uint8_t*>(global);
}

inline float f16_to_float(uint16_t bits) {
  return half_to_float(bits);
}
inline float bf16_to_float(uint16_t bits) {
  return bfloat16_to_float(bits);
}
inline float bits_to_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline uint32_t float_to_bits(float value) {
  return std::bit_cast<uint32_t>(value);
}

inline uint32_t pack_f16(float low, float high) {
  return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
}
inline uint32_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;  // NaN, as the instruction gives it
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) {
  return round_to_bf16(low) | round_to_bf16(high) << 16;
}

template <float (*kToFloat)(uint16_t)>
void emulated_mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Part {
    uint32_t a[4], b[2];
  } mine, all[32];
  std::memcpy(mine.a, a, sizeof mine.a);
  std::memcpy(mine.b, b, sizeof mine.b);
  emulator::exchange(&mine, sizeof mine, all);
  const auto half_of = [](uint32_t pair, unsigned index) {
    return kToFloat(static_cast<uint16_t>(index % 2 == 0 ? pair : pair >> 16));
  };
  const unsigned group = lane_index() / 4, pair = lane_index() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned upper = i / 2, column = 2 * pair + i % 2;  // of the result; row group + 8 * upper
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned owner = k % 8 / 2, second = k / 8;
      const float left = half_of(all[group * 4 + owner].a[upper + 2 * second], k);
      const float right = half_of(all[column * 4 + owner].b[second], k);
      d[i] += left * right;
    }
  }
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated_mma<bf16_to_float>(d, a, b);
}
inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated_mma<f16_to_float>(d, a, b);
}

inline void check_aligned(const void* address) {
  if (reinterpret_cast<uintptr_t>(address) % 16 == 0) return;
  std::fprintf(stderr, "emulated GPU: %p is not aligned to 16 bytes\n", address);
  std::abort();
}

inline void read_matrices(uint32_t (&out)[4], const void* shared_row, bool transposed) {
  check_aligned(shared_row);
  const void* rows[32];
  emulator::exchange(&shared_row, sizeof shared_row, rows);
  const unsigned group = lane_index() / 4, pair = lane_index() % 4;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    uint16_t two[2];
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned row = transposed ? 2 * pair + i : group, column = transposed ? group : 2 * pair + i;
      std::memcpy(&two[i], static_cast<const uint16_t*>(rows[matrix * 8 + row]) + column, 2);
    }
    out[matrix] = two[0] | static_cast<uint32_t>(two[1]) << 16;
  }
  emulator::sync_warp();  // nobody overwrites what another one still reads
}
inline void load_matrices(uint32_t (&out)[4], const void* shared_row) {
  read_matrices(out, shared_row, false);
}
inline void load_matrices_transposed(uint32_t (&out)[4], const void* shared_row) {
  read_matrices(out, shared_row, true);
}

// A copy arrives when its thread waits for it, no earlier.
inline void copy_async_16(void* shared, const void* global, bool valid) {
  check_aligned(shared);
  if (valid) check_aligned(global);
  emulator::add_copy({shared, valid ? global : nullptr});
}
inline void copies_commit() {
  emulator::commit_copies();
}
template <int kGroupsLeft>
void copies_wait() {
  emulator::wait_for_copies(kGroupsLeft);
}

inline uint4 load_once(const void* global) {
  check_aligned(global);
  uint4 value;
  std::memcpy(&value, global, sizeof value);
  return value;
}

template <typename T>
T emulated_shuffle(T value, unsigned lane) {
  T all[32];
  emulator::exchange(&value, sizeof value, all);
  return all[lane];
}
inline float shuffle_xor(float value, unsigned mask) {
  return emulated_shuffle(value, lane_index() ^ mask);
}
inline uint32_t shuffle_xor(uint32_t value, unsigned mask) {
  return emulated_shuffle(value, lane_index() ^ mask);
}
inline uint32_t shuffle(uint32_t value, unsigned lane) {
  return emulated_shuffle(value, lane);
}
inline bool warp_any(bool value) {
  bool all[32];
  emulator::exchange(&value, sizeof value, all);
  return std::any_of(all, all + 32, [](bool one) { return one; });
}

inline uint32_t warp_sum(uint32_t value) {
  uint32_t all[32];
  emulator::exchange(&value, sizeof value, all);
  return std::accumulate(all, all + 32, uint32_t{0});
}
inline uint32_t warp_largest(uint32_t value) {
  uint32_t all[32];
  emulator::exchange(&value, sizeof value, all);
  return *std::max_element(all, all + 32);
}
inline void keep_least(uint32_t* memory, uint32_t value) {
  *memory = std::min(*memory, value);
}
inline uint32_t take_places(uint32_t* memory, uint32_t count) {
  const uint32_t before = *memory;
  *memory = before + count;
  return before;
}

inline uint32_t forgotten(uint32_t value) {
  return value;
}
inline uint32_t multiply_bf16(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t bits) { return std::bit_cast<float>(bits << 16); };
  return round_to_bf16(half(a) * half(b)) | round_to_bf16(half(a >> 16) * half(b >> 16)) << 16;
}
inline uint32_t take_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  uint32_t taken = 0;
  for (unsigned i = 0; i < 4; ++i)
    taken |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return taken;
}
inline float rounded_product(float a, float b) {
  return a * b;
}
inline float multiply_add(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float exp2_approximate(float x) {
  const float value = std::exp2(x);
  return value < 0x1p-126f ? 0.0f : value;  // NaN stays
}

// Blocks come one after the other: nothing is left to be seen.
inline uint32_t add_and_see(uint32_t* global, uint32_t value) {
  const uint32_t before = *global;
  *global = before + value;
  return before;
}

}  // namespace deepserve::kernels::cuda
