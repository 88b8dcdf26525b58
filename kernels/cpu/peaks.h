// What one core of this host can do at the most, per instruction set: small loops to measure it with. A bench
// holds its figures against them.
//
// The loops keep everything in registers (reads: nothing but loads), so no kernel can be faster; they are as
// fast as the instructions of that set allow, not as other sets would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace deepserve::kernels {

enum class Arithmetic : uint8_t {
  kFloat32,   // multiply-add of float32
  kBFloat16,  // products of bfloat16, summed up in float32
  kInt8,      // products of 8-bit integers, summed up in 32 bits
  kCount
};

struct PeakLoop {
  Arithmetic arithmetic;
  const char* instruction;       // that it consists of, "vpdpbusd"
  uint64_t operations_per_turn;  // a multiplication and its addition are two
  float (*run)(uint64_t turns);  // the result means nothing, and depends on every turn
};

struct Peaks {
  std::span<const PeakLoop> loops;  // at most one for each kind of arithmetic; float32 is always there
  // Loads every byte of [data, data + size_bytes) once, in order; data is 64-byte aligned, size_bytes a
  // multiple of 512.
  uint64_t (*read)(const std::byte* data, size_t size_bytes);
};

// Those of the table `isa` that find_kernels gave: this CPU has its instructions. nullptr: no such set.
const Peaks* find_peaks(std::string_view isa);

}  // namespace deepserve::kernels
