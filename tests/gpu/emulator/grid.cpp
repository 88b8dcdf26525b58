#include "tests/gpu/emulator/grid.h"

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/gpu/emulator/device.h"

namespace deepserve::emulator {
namespace {

namespace context = boost::context;

constexpr size_t kWarp = 32;
constexpr size_t kExchangeBytesMax = 64;
constexpr size_t kStackBytes = 128 * 1024;

// Where threads wait for each other. Two rounds' values are kept: a thread may be in the next round while
// others still read this one's.
struct Meeting {
  size_t members = 0;
  size_t arrived = 0;
  uint64_t round = 0;
  uint8_t values[2][kWarp][kExchangeBytesMax];
};

struct Thread {
  uint3 index;
  unsigned lane;
  Meeting* warp;
  context::fiber fiber;
  bool ended = false;
  bool waited = false;                   // for the grids before
  std::deque<std::vector<Copy>> copies;  // committed groups, the oldest first
  std::vector<Copy> uncommitted;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Meeting> warps;
  Meeting all;
};

struct Running {
  Grid grid;
  std::function<void()> before;  // until it was run
  Block* threads = nullptr;
  Thread* thread = nullptr;
  context::fiber scheduler;
  std::deque<std::array<uint8_t, 16>> taken;  // by copies ahead of its turn
  uint64_t steps = 0;  // of any thread past a meeting: a round without any is a deadlock
};

Running* running = nullptr;

std::vector<uint8_t>& shared_memory() {
  static std::vector<uint8_t> memory(kSharedBytesMax + 16);
  return memory;
}

std::mt19937_64& order() {
  static std::mt19937_64 generator(schedule_seed());
  return generator;
}

void yield() {
  running->scheduler = std::move(running->scheduler).resume();
}

uint64_t meet(Meeting& meeting) {
  const uint64_t round = meeting.round;
  if (++meeting.arrived == meeting.members) {
    meeting.arrived = 0;
    ++meeting.round;
    ++running->steps;
  }
  while (meeting.round == round) yield();
  return round;
}

[[noreturn]] void report_deadlock(const Block& block) {
  const auto waits =
      std::find_if(block.threads.begin(), block.threads.end(), [](const Thread& t) { return !t.ended; });
  std::fprintf(stderr,
               "emulated GPU: thread (%u,%u,%u) of block (%u,%u,%u) waits at a barrier or a warp's exchange "
               "that the others do not come to\n",
               waits->index.x, waits->index.y, waits->index.z, blockIdx.x, blockIdx.y, blockIdx.z);
  std::abort();
}

// Stacks are kept: a kernel of a million threads would spend its time on making them.
class StackPool {
 public:
  context::stack_context allocate() {
    if (free_.empty()) return fresh_.allocate();
    const context::stack_context stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void deallocate(context::stack_context& stack) { free_.push_back(stack); }

 private:
  context::protected_fixedsize_stack fresh_{kStackBytes};
  std::vector<context::stack_context> free_;
};

struct PooledStack {
  StackPool* pool;
  context::stack_context allocate() const { return pool->allocate(); }
  void deallocate(context::stack_context& stack) const { pool->deallocate(stack); }
};

StackPool& stacks() {
  static auto* pool = new StackPool;  // fibers may outlive static objects
  return *pool;
}

Block make_block(const dim3& size) {
  Block block;
  const size_t count = size_t{size.x} * size.y * size.z;
  block.threads.resize(count);
  block.warps.resize((count + kWarp - 1) / kWarp);
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = block.threads[i];
    thread.index = {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
                    static_cast<unsigned>(i / size.x / size.y)};
    thread.lane = i % kWarp;
    thread.warp = &block.warps[i / kWarp];
    ++thread.warp->members;
  }
  block.all.members = count;
  return block;
}

void start(Thread& thread, const std::function<void()>& work) {
  thread.fiber = context::fiber(std::allocator_arg, PooledStack{&stacks()}, [&](context::fiber&& from) {
    running->scheduler = std::move(from);
    work();
    thread.ended = true;
    ++running->steps;
    if (running->grid.overlaps && !thread.waited) {
      std::fprintf(stderr, "emulated GPU: thread (%u,%u,%u) has not waited for the kernels before its own\n",
                   thread.index.x, thread.index.y, thread.index.z);
      std::abort();
    }
    return std::move(running->scheduler);
  });
}

void run_block(const std::function<void()>& work) {
  Block block = make_block(running->grid.threads);
  running->threads = &block;
  std::memset(shared_memory().data(), 0xff, running->grid.shared_bytes);
  std::vector<Thread*> left;
  for (Thread& thread : block.threads) {
    start(thread, work);
    left.push_back(&thread);
  }
  while (!left.empty()) {
    const uint64_t before = running->steps;
    std::shuffle(left.begin(), left.end(), order());
    for (Thread* thread : left) {
      running->thread = thread;
      threadIdx = thread->index;
      thread->fiber = std::move(thread->fiber).resume();
    }
    std::erase_if(left, [](const Thread* thread) { return thread->ended; });
    if (running->steps == before) report_deadlock(block);
  }
}

}  // namespace

bool shared_memory_allowed(int bytes) {
  return bytes >= 0 && static_cast<size_t>(bytes) <= kSharedBytesMax;
}

bool begins_early() {
  return order()() % 2 == 0;
}

void run_grid(const Grid& grid, const std::function<void()>& thread, std::function<void()> before) {
  Running now;
  now.grid = grid;
  now.before = std::move(before);
  Running* const outer = std::exchange(running, &now);
  blockDim = grid.threads;
  gridDim = grid.blocks;
  std::vector<size_t> blocks(size_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), order());
  for (const size_t i : blocks) {
    blockIdx = {static_cast<unsigned>(i % grid.blocks.x),
                static_cast<unsigned>(i / grid.blocks.x % grid.blocks.y),
                static_cast<unsigned>(i / grid.blocks.x / grid.blocks.y)};
    run_block(thread);
  }
  running = outer;
}

// Copies that were asked for ahead have come by now, from what was there.
void take_copies_of(Thread& thread, std::deque<std::array<uint8_t, 16>>& taken) {
  const auto take = [&](std::vector<Copy>& group) {
    for (Copy& copy : group) {
      if (copy.from == nullptr) continue;
      std::memcpy(taken.emplace_back().data(), copy.from, 16);
      copy.from = taken.back().data();
    }
  };
  for (auto& group : thread.copies) take(group);
  take(thread.uncommitted);
}

void wait_for_grids_before() {
  running->thread->waited = true;
  if (!running->before) return;
  meet(running->threads->all);
  if (!running->before) return;  // another thread of the block was first
  const auto before = std::exchange(running->before, nullptr);
  for (Thread& thread : running->threads->threads) take_copies_of(thread, running->taken);
  const std::vector<uint8_t> shared = shared_memory();
  const auto place = std::tuple(threadIdx, blockIdx, blockDim, gridDim);
  before();
  std::tie(threadIdx, blockIdx, blockDim, gridDim) = place;
  shared_memory() = shared;
}

unsigned lane_index() {
  return running->thread->lane;
}

uint8_t* dynamic_shared_memory() {
  const auto address = reinterpret_cast<uintptr_t>(shared_memory().data());
  return reinterpret_cast<uint8_t*>((address + 15) / 16 * 16);
}

void sync_block() {
  meet(running->threads->all);
}

void sync_warp(unsigned) {
  meet(*running->thread->warp);
}

void exchange(const void* mine, size_t bytes, void* all) {
  Meeting& warp = *running->thread->warp;
  auto& values = warp.values[warp.round % 2];
  std::memcpy(values[running->thread->lane], mine, bytes);
  meet(warp);
  for (size_t lane = 0; lane < kWarp; ++lane) {
    std::memcpy(static_cast<uint8_t*>(all) + lane * bytes, values[lane], bytes);
  }
}

void add_copy(const Copy& copy) {
  running->thread->uncommitted.push_back(copy);
}

void commit_copies() {
  Thread& thread = *running->thread;
  thread.copies.push_back(std::move(thread.uncommitted));
  thread.uncommitted.clear();
}

void wait_for_copies(size_t groups_left) {
  auto& groups = running->thread->copies;
  for (; groups.size() > groups_left; groups.pop_front()) {
    for (const Copy& copy : groups.front()) {
      if (copy.from == nullptr)
        std::memset(copy.to, 0, 16);
      else
        std::memcpy(copy.to, copy.from, 16);
    }
  }
}

}  // namespace deepserve::emulator
