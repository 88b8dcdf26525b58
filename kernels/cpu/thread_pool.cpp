#include "kernels/cpu/thread_pool.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace deepserve::kernels {
namespace {

constexpr uint64_t kOpen = 0x8000;
constexpr uint64_t kInside = 0x7fff;
constexpr int kJobShift = 16;
constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gaps between the parts of one step
constexpr int kSpinsToYield = 256;  // a caller waiting for a worker that lost its core lets others run

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  for (unsigned i = 1; i < std::clamp(threads, 1u, 1024u); ++i) workers_.emplace_back([this] { worker(); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  gate_.fetch_add(uint64_t{1} << kJobShift);
  gate_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::run(size_t count, size_t chunk, bool halving, Function function, const void* context) {
  if (workers_.empty() && halving) chunk = std::max(count, size_t{1});
  if (workers_.empty() || count <= chunk) {
    for (size_t begin = 0; begin < count; begin += chunk)
      function(context, begin, std::min(count, begin + chunk));
    return;
  }
  count_ = count;
  chunk_ = chunk;
  halving_ = halving;
  function_ = function;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  const uint64_t job = (gate_.load(std::memory_order_relaxed) >> kJobShift) + 1;
  gate_.store(job << kJobShift | kOpen);  // publishes the fields above to the CAS in worker()
  if (parked_.load() != 0) gate_.notify_all();
  take_parts();
  gate_.fetch_and(~kOpen);
  for (int spins = 0; (gate_.load(std::memory_order_acquire) & kInside) != 0; ++spins) {
    if (spins < kSpinsToYield)
      relax();
    else
      std::this_thread::yield();
  }
}

bool ThreadPool::take_part(size_t& begin, size_t& end) {
  if (!halving_) {
    begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
    end = std::min(count_, begin + chunk_);
    return begin < count_;
  }
  begin = next_.load(std::memory_order_relaxed);
  do {
    if (begin >= count_) return false;
    const size_t share = (count_ - begin) / (2 * size_t{threads()});
    end = std::min(count_, begin + std::max(share, chunk_));
  } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
  return true;
}

void ThreadPool::take_parts() {
  size_t begin = 0, end = 0;
  while (take_part(begin, end)) function_(context_, begin, end);
}

// The gate's word once it shows another job than `last_job`.
uint64_t ThreadPool::await_job(uint64_t last_job) {
  for (int spins = 0; spins < kSpins; ++spins) {
    const uint64_t word = gate_.load(std::memory_order_acquire);
    if (word >> kJobShift != last_job) return word;
    relax();
  }
  parked_.fetch_add(
      1);  // before the re-check inside wait(): pairs with run()'s store of the gate, then load of parked_
  uint64_t word = gate_.load();
  while (word >> kJobShift == last_job) {
    gate_.wait(word);
    word = gate_.load();
  }
  parked_.fetch_sub(1);
  return word;
}

void ThreadPool::worker() {
  uint64_t last_job = 0;
  while (!stopping_.load(std::memory_order_relaxed)) {
    uint64_t word = await_job(last_job);
    last_job = word >> kJobShift;
    while ((word & kOpen) != 0 && word >> kJobShift == last_job) {
      if (!gate_.compare_exchange_weak(word, word + 1, std::memory_order_acquire)) continue;
      take_parts();
      gate_.fetch_sub(1, std::memory_order_release);
      break;
    }
  }
}

}  // namespace deepserve::kernels
