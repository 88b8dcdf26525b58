#include "runner/backend/cuda/step_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ipc/base/check.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::cuda::AttentionArguments;
using kernels::cuda::AttentionEntry;
using kernels::cuda::AttentionItem;
using kernels::cuda::AttentionKind;
using kernels::cuda::AttentionPlan;
using kernels::cuda::AttentionWorkspaceSize;
using kernels::cuda::kAttentionKinds;

// Enough for 120 sequences of 8k with 28 heads of 128; what is beyond it is attended to unsplit, and then
// there is work for every multiprocessor all the same.
constexpr uint64_t kPartialBytesMax = uint64_t{32} << 20;

AttentionWorkspaceSize workspace_size(const ModelConfig& config, const StepAttentionOptions& options) {
  const uint64_t row_bytes = uint64_t{config.head_dim} * sizeof(float) + sizeof(float2);
  const uint64_t context = std::min(uint64_t{options.blocks} * kernels::kBlockTokens, uint64_t{1} << 30);
  const uint64_t segments = kernels::cuda::attention_segments(static_cast<uint32_t>(context));
  const uint64_t most = std::min(kPartialBytesMax / row_bytes, segments * config.heads * 16);
  return {.rows = static_cast<uint32_t>(most),
          .tiles = kernels::cuda::attention_items_min(options.tokens_max, config.heads / config.kv_heads),
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim};
}

// A plan as the kernels read it: AttentionPlan::begins, then its items.
constexpr size_t kBeginsBytes = sizeof(AttentionPlan::begins);
static_assert(kBeginsBytes % alignof(AttentionItem) == 0);

uint64_t plan_bytes(uint64_t items) {
  return kBeginsBytes + items * sizeof(AttentionItem);
}

uint32_t items_max(const AttentionWorkspaceSize& size) {
  // Each item of one segment has a partial row of each KV head at the least.
  return size.tiles + std::min(size.rows / size.kv_heads, uint32_t{1} << 15);
}

uint64_t table_ids(const StepAttentionOptions& options) {
  return uint64_t{options.blocks} + options.tokens_max;
}

Result<void> sent(cudaError_t error) {
  return checked(error, "sending a step's attention to the GPU");
}

}  // namespace

Result<void> StepAttention::check_supported(const ModelConfig& config, const Gpu& gpu) {
  if (kernels::cuda::attention_has_kernels(config.head_dim, gpu.block_shared_bytes)) return {};
  return fail(Code::kNotSupported, "heads of {} dimensions are not supported on {}: multiples of 8 up to 256",
              config.head_dim, gpu.name);
}

void StepAttention::carve(uint8_t* memory) {
  Carver carver(memory);
  for (Side& side : sides_) side.plan = carver.take<uint8_t>(plan_bytes(limits_.items_max));
  workspace_ = carver.take<uint8_t>(attention_workspace_bytes(workspace_size_));
  used_bytes_ = carver.used_bytes();
}

uint64_t StepAttention::memory_bytes(const ModelConfig& config, const StepAttentionOptions& options) {
  StepAttention attention;
  attention.workspace_size_ = workspace_size(config, options);
  attention.limits_.items_max = items_max(attention.workspace_size_);
  attention.carve(nullptr);
  return attention.used_bytes_ + attention.sides_.size() * table_ids(options) * sizeof(BlockId);
}

Result<StepAttention> StepAttention::make(const ModelConfig& config, const Gpu& gpu,
                                          const StepAttentionOptions& options) {
  TRY(check_supported(config, gpu));
  StepAttention attention;
  attention.heads_ = config.heads;
  attention.head_dim_ = config.head_dim;
  attention.workspace_size_ = workspace_size(config, options);
  attention.limits_ = {.group = config.heads / config.kv_heads,
                       .kv_heads = config.kv_heads,
                       .multiprocessors = gpu.multiprocessors,
                       .wide = kernels::cuda::attention_has_wide(config.head_dim, gpu.block_shared_bytes),
                       .workspace_rows = attention.workspace_size_.rows,
                       .workspace_tiles = attention.workspace_size_.tiles,
                       .items_max = items_max(attention.workspace_size_)};
  attention.carve(nullptr);
  TRY_ASSIGN(attention.memory_, DeviceMemory::make(attention.used_bytes_, "attention"));
  attention.carve(attention.memory_.data());
  for (Side& side : attention.sides_) {
    TRY_ASSIGN(side.pinned_plan, PinnedMemory::make(plan_bytes(attention.limits_.items_max)));
    TRY(attention.hold_tables(table_ids(options), side));
  }
  attention.entries_.reserve(options.tokens_max);
  attention.plan_.items.reserve(attention.limits_.items_max);
  TRY(clear(attention.workspace_, attention_workspace_zeros(attention.workspace_size_)));
  return attention;
}

Result<void> StepAttention::hold_tables(uint64_t ids, Side& side) {
  const uint64_t bytes = ids * sizeof(BlockId);
  TRY_ASSIGN(side.pinned_tables, PinnedMemory::make(bytes));
  TRY_ASSIGN(side.tables, DeviceMemory::make(bytes, "block tables"));  // last: its size says what there is
  ++places_;
  return {};
}

void StepAttention::plan(std::span<const BatchEntry> batch) {
  entries_.clear();
  uint32_t row = 0, table = 0;
  for (const BatchEntry& entry : batch) {
    const auto tokens = static_cast<uint32_t>(entry.tokens.size());
    if (tokens != 0) entries_.push_back({row, tokens, entry.position, table});
    row += tokens;
    table += static_cast<uint32_t>(entry.blocks.size());
  }
  kernels::cuda::plan_attention(entries_, limits_, plan_);
  CHECK(plan_.items.size() <= limits_.items_max);
}

Result<void> StepAttention::send(std::span<const BatchEntry> batch, size_t side_number, cudaStream_t stream) {
  side_ = side_number;
  Side& side = sides_[side_];
  uint64_t ids = 0;
  for (const BatchEntry& entry : batch) ids += entry.blocks.size();
  if (ids * sizeof(BlockId) > side.tables.bytes()) TRY(hold_tables(2 * ids, side));
  BlockId* to = side.pinned_tables.as<BlockId>();
  for (const BatchEntry& entry : batch) to = std::copy(entry.blocks.begin(), entry.blocks.end(), to);
  TRY(sent(cudaMemcpyAsync(side.tables.data(), side.pinned_tables.data(), ids * sizeof(BlockId),
                           cudaMemcpyHostToDevice, stream)));
  plan(batch);
  std::memcpy(side.pinned_plan.data(), plan_.begins.data(), kBeginsBytes);
  std::memcpy(side.pinned_plan.data() + kBeginsBytes, plan_.items.data(),
              plan_.items.size() * sizeof(AttentionItem));
  return sent(cudaMemcpyAsync(side.plan, side.pinned_plan.data(), plan_bytes(plan_.items.size()),
                              cudaMemcpyHostToDevice, stream));
}

bool StepAttention::is_decode() const {
  return plan_.count(AttentionKind::kNarrow) == plan_.items.size();
}

AttentionArguments StepAttention::arguments(const DeviceKvCache& cache, uint32_t layer,
                                            const uint16_t* queries, uint16_t* attended,
                                            uint32_t stride) const {
  return {.queries = queries,
          .heads = heads_,
          .kv_heads = limits_.kv_heads,
          .head_dim = head_dim_,
          .scale = 1.0f / std::sqrt(static_cast<float>(head_dim_)),
          .cache = cache.data(),
          .block_stride = cache.block_stride(),
          .layer_offset = cache.layer_offset(layer),
          .tables = reinterpret_cast<const BlockId*>(sides_[side_].tables.data()),
          .items = reinterpret_cast<const AttentionItem*>(sides_[side_].plan + kBeginsBytes),
          .begins = reinterpret_cast<const uint32_t*>(sides_[side_].plan),
          .workspace = workspace_,
          .workspace_size = workspace_size_,
          .out = attended,
          .out_stride = stride,
          .blocks = {}};
}

Result<void> StepAttention::run(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries,
                                uint16_t* attended, uint32_t stride, cudaStream_t stream) const {
  AttentionArguments called = arguments(cache, layer, queries, attended, stride);
  for (size_t k = 0; k < kAttentionKinds; ++k) {
    const auto kind = static_cast<AttentionKind>(k);
    called.blocks[k] = std::min(plan_.count(kind) * limits_.kv_heads,
                                kernels::cuda::attention_blocks(kind, head_dim_, limits_.multiprocessors));
  }
  return launched(kernels::cuda::paged_attention(called, stream));
}

Result<void> StepAttention::run_any(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries,
                                    uint16_t* attended, uint32_t stride, cudaStream_t stream) const {
  constexpr AttentionKind kKind = AttentionKind::kNarrow;
  AttentionArguments called = arguments(cache, layer, queries, attended, stride);
  called.blocks[static_cast<size_t>(kKind)] =
      kernels::cuda::attention_blocks(kKind, head_dim_, limits_.multiprocessors);
  return launched(kernels::cuda::paged_attention(called, stream));
}

}  // namespace deepserve::runner::cuda
