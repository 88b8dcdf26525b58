// Runs a kernel's threads on the CPU: every thread of a block is a fiber, blocks come one after the other.
//
// Where CUDA promises no order there is none here either: blocks, and the threads of a block between two
// barriers, run in an order drawn from the seed (device.h), so that a barrier that is missing shows up as
// another result under another seed. A grid that may overlap with the one before it has half of the times its
// first block run up to where it waits before that one runs at all. A barrier or a warp's exchange that not
// all of its threads come to ends the program, naming the thread that waits. Shared memory holds NaNs when a
// block begins, as far as it is dynamic. Single-threaded, as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/gpu/emulator/vectors.h"

// Of the thread that runs, as every kernel has them.
inline uint3 threadIdx;
inline uint3 blockIdx;
inline dim3 blockDim;
inline dim3 gridDim;

namespace deepserve::emulator {

struct Stream;
struct Event;
struct Graph;

struct Grid {
  dim3 blocks;
  dim3 threads;  // of a block
  size_t shared_bytes = 0;
  bool overlaps = false;  // it may begin while the one before it runs, and waits for that
};

// The most dynamic shared memory a block may have: Hopper's 227 KiB.
inline constexpr size_t kSharedBytesMax = 227 * 1024;
inline constexpr size_t kSharedBytesDefault = 48 * 1024;
bool shared_memory_allowed(int bytes);

// Puts the grid into `stream`; a number of cudaError_t.
int launch(const Grid& grid, Stream* stream, std::function<void()> thread);

// Puts work of another library into `stream`: it is called until it says something else than
// cudaErrorNotReady, which is that it still waits for another process. A number of cudaError_t, as is its
// own.
int enqueue(Stream* stream, std::function<int()> work);

// Runs all of it now. `before`: the grid ahead of it, which is run when its first block has come to
// wait_for_grids_before(). A thread of a grid that overlaps and does not come there ends the program.
void run_grid(const Grid& grid, const std::function<void()>& thread, std::function<void()> before = {});

// Whether a grid that overlaps begins ahead of the one before it: drawn from the seed.
bool begins_early();

uint8_t* dynamic_shared_memory();
unsigned lane_index();  // in its warp of 32

void wait_for_grids_before();
void sync_block();
void sync_warp(unsigned mask = 0xffffffff);

// Each thread of the warp gives `bytes` (at most 64) at `mine` and gets all 32 threads', one after the other,
// in `all`. All 32 must call it.
void exchange(const void* mine, size_t bytes, void* all);

// 16 bytes on their way to shared memory; zeros where `from` is nullptr. They arrive when the thread that
// added them waits for their group.
struct Copy {
  void* to;
  const void* from;
};
void add_copy(const Copy& copy);
void commit_copies();
void wait_for_copies(size_t groups_left);

}  // namespace deepserve::emulator
