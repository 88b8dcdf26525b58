// A few threads that share the work of one caller, kept awake between short pieces of work.
//
// A body runs over [0, count) in parts that are handed out one by one, so that a thread that the host has
// taken off its core delays nobody for long. Which thread computes which part is not defined: bodies must not
// care.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace deepserve::kernels {

class ThreadPool {
 public:
  // `threads` in all, the caller of parallel_for among them; 1 starts none.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(begin, end) until [0, count) is covered, each part at most `chunk` long; returns when all are
  // done. One caller at a time. Everything that the bodies wrote is visible to the caller afterwards.
  template <typename Body>
  void parallel_for(size_t count, size_t chunk, const Body& body) {
    run(count, chunk, false, call<Body>, &body);
  }

  // The same in long parts: each a half of what is left for every thread, but not less than `grain`. For work
  // whose parts cost alike and gain from going on where they are.
  template <typename Body>
  void parallel_ranges(size_t count, size_t grain, const Body& body) {
    run(count, grain, true, call<Body>, &body);
  }

 private:
  using Function = void (*)(const void* context, size_t begin, size_t end);

  template <typename Body>
  static void call(const void* context, size_t begin, size_t end) {
    (*static_cast<const Body*>(context))(begin, end);
  }

  void run(size_t count, size_t chunk, bool halving, Function function, const void* context);
  bool take_part(size_t& begin, size_t& end);
  void take_parts();
  void worker();
  uint64_t await_job(uint64_t last_job);

  // job number << 16 | open bit | workers inside. A worker enters only while the job is open; the caller
  // closes it and waits for those inside, so the fields below never change under a worker.
  alignas(128) std::atomic<uint64_t> gate_{0};
  alignas(128) std::atomic<size_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> parked_{0};
  size_t count_ = 0;
  size_t chunk_ = 1;
  bool halving_ = false;
  Function function_ = nullptr;
  const void* context_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace deepserve::kernels
