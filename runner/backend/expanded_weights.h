// The matrices of 8-bit floats of a model as float32, in memory of the process's own: what a CPU computes
// with them. Four times the file's bytes, and exactly what its codes and scales say.
#pragma once

#include <cstdint>
#include <functional>

#include "ipc/base/result.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

class ExpandedWeights {
 public:
  // Has the matrices of `weights` that are 8-bit floats point here instead of into their files, whose pages
  // are given back. `on_expanded`, which may be empty, is called by the caller's thread with the bytes so
  // far. kOutOfMemory, with the bytes, when there is no such memory.
  static Result<ExpandedWeights> make(ModelWeights& weights, kernels::ThreadPool& threads,
                                      const std::function<void(uint64_t bytes)>& on_expanded);
  ExpandedWeights(ExpandedWeights&& other) noexcept;
  ExpandedWeights& operator=(ExpandedWeights&&) = delete;
  ~ExpandedWeights();

  size_t size_bytes() const { return size_bytes_; }

 private:
  ExpandedWeights() = default;

  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace deepserve::runner
