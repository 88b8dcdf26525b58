// The forward pass of a Llama-shaped model on a CPU, for a flat list of tokens that may belong to many
// sequences.
//
// Every token's results depend on its own row, its position and the KV cache behind it, never on its
// neighbours in the list (DESIGN 8): matrices are applied row by row in a fixed order, attention per token
// and head in order of position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/backend/backend.h"
#include "runner/backend/kv_cache.h"
#include "runner/backend/matmul.h"
#include "runner/backend/packed_weights.h"
#include "runner/backend/rank_exchange.h"
#include "runner/backend/rope_table.h"
#include "runner/model/model_config.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

// One token of a step.
struct ForwardToken {
  TokenId token = 0;
  uint32_t position = 0;
  const BlockId* blocks = nullptr;  // of its sequence, up to and with the block of `position`
  bool wants_logits = false;
  bool wants_hidden = false;
  float sums_scale = 0;  // of its row of logits, as in BatchEntry
};

class CpuForward {
 public:
  // All of these must outlive the object; `collective` is nullptr where one process has the whole model.
  // Buffers for `tokens_max` tokens are allocated here, none later.
  CpuForward(const ModelShard& model, const PackedWeights& packed, const kernels::Kernels& kernels,
             kernels::ThreadPool& threads, KvCache& cache, Collective* collective, uint32_t tokens_max);

  // Writes the tokens' keys and values to the cache, and the outputs of those that want them, in order;
  // logits are rank 0's alone. Errors are the collective's.
  Result<void> run(std::span<const ForwardToken> tokens, const StepOutputs& outputs);

 private:
  // Consecutive tokens of one sequence.
  struct AttentionTile {
    uint32_t first;
    uint32_t count;
  };

  void embed(std::span<const ForwardToken> tokens);
  void plan_attention(std::span<const ForwardToken> tokens);
  void attend(std::span<const ForwardToken> tokens, uint32_t layer);
  void attend_tile(const ForwardToken& token, const AttentionTile& tile, uint32_t layer, uint32_t kv_head,
                   size_t head, size_t head_end);
  void rotate_and_store(std::span<const ForwardToken> tokens, uint32_t layer);
  size_t part_for(size_t tokens) const;
  Result<void> feed_forward(size_t tokens, const LayerWeights& layer, const PackedLayer& packed);
  void multiply_gate_and_up(size_t tokens, const LayerWeights& layer, const PackedLayer& packed,
                            const Range& rows);
  Result<void> add_product(const kernels::Matrix& weights, const kernels::PackedMatrix& packed,
                           const std::vector<float>& bias, const kernels::ColumnParts& parts,
                           const float* inputs, size_t tokens, const kernels::InputBlock* rounded);
  void write_hidden(std::span<const ForwardToken> tokens, std::span<float> hidden);
  Result<void> write_logits(std::span<const ForwardToken> tokens, const StepOutputs& outputs);
  Result<void> gather_logits(const StepOutputs& outputs);
  void prepare_head(float* head, const std::vector<float>& norm, size_t token) const;
  void normalize(size_t tokens, const std::vector<float>& weight, bool rounds);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const RankShare& share_;
  const PackedWeights& packed_;
  const kernels::Kernels& kernels_;
  kernels::ThreadPool& threads_;
  KvCache& cache_;
  RopeTable rope_;
  RankExchange ranks_;
  size_t query_width_;     // heads * head_dim
  size_t kv_width_;        // kv_heads * head_dim
  size_t attended_width_;  // columns of attention_output: the heads', and zeros up to a block's border
  size_t attended_begin_;  // where the heads' begin
  // Rows of gate and up that are there at a time for tokens_max tokens; for fewer tokens more of them are.
  size_t feed_part_;

  // [tokens_max, ...]
  std::vector<float> residual_;    // [embedding]
  std::vector<float> normalized_;  // [embedding]
  std::vector<float> query_;       // [heads, head_dim]
  std::vector<float> key_;         // [kv_heads, head_dim]
  std::vector<float> value_;       // [kv_heads, head_dim]
  std::vector<float> attended_;    // [attended_width_]
  std::vector<float> gate_;        // [feed_part_]
  std::vector<float> up_;          // [feed_part_]
  std::vector<float> cosines_;     // [pairs]
  std::vector<float> sines_;       // [pairs]

  std::vector<kernels::InputBlock> product_;  // [feed_forward / kInputBlock] of gate and up, rounded

  Matmul matmul_;

  // Of the current step: the same for all layers.
  std::vector<AttentionTile> tiles_;
  std::vector<float> sums_scales_;  // [rows of logits]
  size_t head_parts_ = 1;           // into how many the query heads of a KV head are parted
  size_t attention_work_ = 0;       // products of queries and keys
};

}  // namespace deepserve::runner
