// The instructions that C++ has no words for: tensor core products, shuffles, copies to shared memory that do
// not wait, conversions to 16 bits. Each is one PTX instruction (NVIDIA, "Parallel Thread Execution ISA",
// whose section names stand here) and needs sm_80 or newer.
//
// Where a kernel is not compiled for a GPU, the tests' emulator (tests/gpu/emulator) has the same functions.
// 16-bit numbers are carried as their bits, two in a uint32_t with the lower index in the lower half.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#ifndef __CUDACC__
#include <emulated_ptx.h>
#else

namespace deepserve::kernels::cuda {

// The block's dynamic shared memory, 16-byte aligned.
__device__ inline uint8_t* dynamic_shared() {
  extern __shared__ __align__(16) uint8_t memory[];
  return memory;
}

__device__ inline unsigned lane_index() {
  return threadIdx.x % 32;
}

// "griddepcontrol.wait": until the kernel before this one in its stream has ended, and what it wrote can be
// read; and with it, as each of them has waited (launch.cuh), all that were before. Only what no kernel
// writes may be read ahead of it, and nothing written but shared memory.
__device__ inline void wait_for_kernels_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// "griddepcontrol.launch_dependents": the next kernel may begin once all blocks have said so, or have ended.
__device__ inline void let_next_kernel_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// "mma.m16n8k16": d[16, 8] += a[16, 16] * b[16, 8], float32 sums, by one warp. With group = lane / 4 and
// pair = lane % 4 a thread holds of a (row group, columns 2 pair + {0, 1}), (row group + 8, the same),
// (row group, columns 2 pair + {8, 9}), (row group + 8, the same); of b (rows 2 pair + {0, 1}, column group),
// (rows 2 pair + {8, 9}, the same); of d (row group, columns 2 pair + {0, 1}), (row group + 8, the same).
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// "ldmatrix": four 8x8 matrices of 16-bit elements from shared memory. Thread i gives the address (16-byte
// aligned) of row i % 8 of matrix i / 8, and gets of each matrix elements (lane / 4, 2 (lane % 4) + {0, 1});
// transposed: (2 (lane % 4) + {0, 1}, lane / 4).
__device__ inline void load_matrices(uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address));
}
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address));
}

// "cp.async": 16 bytes from global to shared memory, both 16-byte aligned; zeros where !valid, and then
// `global` is not read. They have arrived for the thread that copied after copies_wait<N>() with at most the
// N latest groups still under way; for the others after a barrier behind that.
__device__ inline void copy_async_16(void* shared, const void* global, bool valid) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
}
__device__ inline void copies_commit() {
  asm volatile("cp.async.commit_group;");
}
template <int kGroupsLeft>
__device__ inline void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// "ld.global.nc": 16 bytes that are read once, past the first-level cache.
__device__ inline uint4 load_once(const void* global) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(global));
  return v;
}

// "prefetch.global.L2": brings the line of 128 bytes near. Who reads it later reads what is in it then, so
// that this may be asked for ahead of a kernel's turn whatever the line holds.
__device__ inline void prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// "cvt.rn": rounded to nearest even.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ inline uint32_t pack_f16(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ inline float f16_to_float(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ inline float bf16_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}
__device__ inline float bits_to_float(uint32_t bits) {
  return __uint_as_float(bits);
}
__device__ inline uint32_t float_to_bits(float value) {
  return __float_as_uint(value);
}

// "fma.rn.bf16x2": the products of two pairs, each rounded; subnormal numbers count.
__device__ inline uint32_t multiply_bf16(uint32_t a, uint32_t b) {
  uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000));
  return product;
}
// "prmt": four of the eight bytes of `low` (0 to 3) and `high` (4 to 7), as the hexadecimal digits of
// `selector` name them, the last digit first.
__device__ inline uint32_t take_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  return __byte_perm(low, high, selector);
}

// The same value, of which the compiler does not know that: what follows from it is computed anew where it is
// used, and no register keeps it meanwhile.
__device__ inline uint32_t forgotten(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}

// "mul.rn": a product that is rounded by itself, never part of a fused multiply-add.
__device__ inline float rounded_product(float a, float b) {
  return __fmul_rn(a, b);
}
// "fma.rn": a * b + c, rounded once.
__device__ inline float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
// "ex2.approx.ftz": 2^x within 2 ulp; 1 of 0, 0 of -infinity and of all that is below 2^-126.
__device__ inline float exp2_approximate(float x) {
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}

// "shfl.sync.bfly": what the thread whose lane differs by `mask` gives. All 32 call it.
__device__ inline float shuffle_xor(float value, unsigned mask) {
  return __shfl_xor_sync(0xffffffff, value, mask);
}
__device__ inline uint32_t shuffle_xor(uint32_t value, unsigned mask) {
  return __shfl_xor_sync(0xffffffff, value, mask);
}
// What thread `lane` gives.
__device__ inline uint32_t shuffle(uint32_t value, unsigned lane) {
  return __shfl_sync(0xffffffff, value, lane);
}
// "vote.sync.any": whether it is true for any thread of the warp. All 32 call it.
__device__ inline bool warp_any(bool value) {
  return __any_sync(0xffffffff, value) != 0;
}

// "redux.sync": of all 32 threads, which all call it; the sum modulo 2^32.
__device__ inline uint32_t warp_sum(uint32_t value) {
  return __reduce_add_sync(0xffffffff, value);
}
__device__ inline uint32_t warp_largest(uint32_t value) {
  return __reduce_max_sync(0xffffffff, value);
}

// "atom": in global or shared memory; the last gives what was there before.
__device__ inline void keep_least(uint32_t* memory, uint32_t value) {
  atomicMin(memory, value);
}
__device__ inline uint32_t take_places(uint32_t* memory, uint32_t count) {
  return atomicAdd(memory, count);
}

// "atom.acq_rel.gpu.add": gives what was there before. Who reads a number by it sees all that was written
// before the number was added to, by the thread that added and, where a barrier lies between, by its block.
__device__ inline uint32_t add_and_see(uint32_t* global, uint32_t value) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(global), "r"(value)
               : "memory");
  return before;
}

}  // namespace deepserve::kernels::cuda

#endif

namespace deepserve::kernels::cuda {

// What a kernel begins with that has nothing to do ahead of its turn.
__device__ inline void begin_in_turn() {
  let_next_kernel_begin();
  wait_for_kernels_before();
}

}  // namespace deepserve::kernels::cuda
