// The attention of a step's rows over the paged KV cache: what its kernels read besides queries and cache,
// the plan of the step's work and the block tables, and the memory for partial results.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/attention.h"
#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_kv_cache.h"
#include "runner/backend/cuda/device_memory.h"
#include "runner/backend/cuda/gpu.h"
#include "runner/model/model_config.h"

namespace deepserve::runner::cuda {

struct StepAttentionOptions {
  uint32_t tokens_max = 0;  // of a step
  uint32_t blocks = 0;      // of the cache
};

class StepAttention {
 public:
  // kNotSupported: this GPU cannot attend with heads of this size.
  static Result<void> check_supported(const ModelConfig& config, const Gpu& gpu);
  static uint64_t memory_bytes(const ModelConfig& config, const StepAttentionOptions& options);
  static Result<StepAttention> make(const ModelConfig& config, const Gpu& gpu,
                                    const StepAttentionOptions& options);

  // Takes the step's entries, which must be within the backend's bounds, to a side that no step under way
  // has, and puts the copy of what they need into `stream`. The rest is of this step.
  Result<void> send(std::span<const BatchEntry> batch, size_t side, cudaStream_t stream);

  // Whether what was sent last is all of the kind that run_any() runs.
  bool is_decode() const;
  // attended[t] = what token t's heads see in `layer`: bf16 [tokens, stride], zeros behind the heads.
  // queries: binary16 [tokens, heads, head_dim], rotated. Rows of tokens that are in no entry are left alone.
  Result<void> run(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries, uint16_t* attended,
                   uint32_t stride, cudaStream_t stream) const;
  // The same, captured once, for whatever is sent later and is_decode(), as long as places() is the same.
  Result<void> run_any(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries,
                       uint16_t* attended, uint32_t stride, cudaStream_t stream) const;
  // How often the memory that the kernels read was put elsewhere.
  uint32_t places() const { return places_; }

 private:
  // What a step's kernels read, and where that is copied from.
  struct Side {
    uint8_t* plan = nullptr;  // in memory_
    PinnedMemory pinned_plan;
    DeviceMemory tables;  // all entries' blocks, one entry's after the other's; grows when it must
    PinnedMemory pinned_tables;
  };

  void carve(uint8_t* memory);
  void plan(std::span<const BatchEntry> batch);
  Result<void> hold_tables(uint64_t ids, Side& side);
  kernels::cuda::AttentionArguments arguments(const DeviceKvCache& cache, uint32_t layer,
                                              const uint16_t* queries, uint16_t* attended,
                                              uint32_t stride) const;

  uint32_t heads_ = 0;
  uint32_t head_dim_ = 0;
  kernels::cuda::AttentionLimits limits_;
  kernels::cuda::AttentionWorkspaceSize workspace_size_;
  uint64_t used_bytes_ = 0;
  uint32_t places_ = 0;

  DeviceMemory memory_;
  uint8_t* workspace_ = nullptr;
  std::array<Side, 2> sides_;
  size_t side_ = 0;
  std::vector<kernels::cuda::AttentionEntry> entries_;
  kernels::cuda::AttentionPlan plan_;
};

}  // namespace deepserve::runner::cuda
