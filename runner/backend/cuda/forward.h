// The forward pass of a Llama-shaped model on a GPU: which kernels run over a step's rows, in which order.
//
// A row's results depend on its own token, its position and the KV cache behind it, never on its neighbours
// (DESIGN 8): every kernel here sums in an order that the row's own shape fixes.
#pragma once

#include <cstdint>

#include "kernels/cuda/sampling.h"
#include "runner/backend/cuda/device_exchange.h"
#include "runner/backend/cuda/device_kv_cache.h"
#include "runner/backend/cuda/device_weights.h"
#include "runner/backend/cuda/products.h"
#include "runner/backend/cuda/step_attention.h"
#include "runner/backend/cuda/step_inputs.h"
#include "runner/model/model_config.h"

namespace deepserve::runner::cuda {

struct ForwardOptions {
  uint32_t tokens_max = 0;  // of a step
  double rope_factor = 1;   // that cosines and sines have
  bool deterministic = false;
  uint32_t multiprocessors = 1;  // of the GPU
  // Columns of attention_output, and where among them this rank's heads begin (RankShare::attended); behind
  // and before them are zeros.
  uint32_t attended_columns = 0;
  uint32_t attended_begin = 0;
};

class Forward {
 public:
  // Rows of logits that there is memory for: more are made piece by piece.
  static constexpr uint32_t kLogitsRows = 256;

  // `weights` may be without memory.
  static uint64_t workspace_bytes(const ModelConfig& config, const DeviceWeights& weights,
                                  const ForwardOptions& options);
  // All references outlive the object.
  static Result<Forward> make(const ModelConfig& config, const DeviceWeights& weights, DeviceKvCache& cache,
                              DeviceExchange& exchange, const ForwardOptions& options);

  // The layers, into the residual stream; what was filled into `inputs` and `attention` must be on its way.
  // `drawn`: where the step before has its tokens, for inputs that stand for those.
  Result<void> run(const StepInputs& inputs, const StepAttention& attention,
                   const kernels::cuda::RankedLogit* drawn, cudaStream_t stream);
  // The same for `tokens` rows of whatever `inputs` holds when it runs, padded if need be, and
  // StepAttention::run_any: what of it was captured goes for later steps.
  Result<void> run_any(uint32_t tokens, const StepInputs& inputs, const StepAttention& attention,
                       const kernels::cuda::RankedLogit* drawn, cudaStream_t stream);
  // Logits of rows [begin, begin + count) of those that give some, at most kLogitsRows: to logits(), on rank
  // 0 alone.
  Result<void> make_logits(const StepInputs& inputs, uint32_t begin, uint32_t count, cudaStream_t stream);
  bool deterministic() const { return products_.deterministic(); }
  float* logits() const { return logits_; }  // [kLogitsRows, vocabulary]; may be written to until the next
  // The final norm's output of the rows whose hidden states are wanted: to hidden() [rows, embedding].
  Result<void> make_hidden(const StepInputs& inputs, cudaStream_t stream);
  const float* hidden() const { return hidden_; }

 private:
  Forward(const ModelConfig& config, const DeviceWeights& weights, DeviceKvCache& cache,
          DeviceExchange& exchange)
      : config_(&config), weights_(&weights), cache_(&cache), exchange_(&exchange) {}
  void carve(uint8_t* memory, const ForwardOptions& options);
  // How a step's kernels are started.
  struct Way {
    uint32_t tokens;
    bool any;  // as run_any has it
    const StepInputs& inputs;
    const StepAttention& attention;
    const kernels::cuda::RankedLogit* drawn;
    cudaStream_t stream;
  };

  Result<void> run_layers(const Way& way);
  Result<void> begin(const Way& way);
  Result<void> attend(const DeviceLayer& layer, uint32_t index, const Way& way);
  Result<void> feed_forward(const DeviceLayer& layer, uint32_t tokens, cudaStream_t stream);
  Result<void> normalize(const float* weight, uint32_t count, cudaStream_t stream);
  Result<void> add_product(const kernels::cuda::DeviceMatrix& matrix, const float* bias,
                           const uint16_t* inputs, uint32_t stride, uint32_t tokens, cudaStream_t stream);

  const ModelConfig* config_;
  const DeviceWeights* weights_;
  DeviceKvCache* cache_;
  DeviceExchange* exchange_;
  double rope_factor_ = 1;
  Products products_;
  DeviceMemory memory_;
  uint64_t used_bytes_ = 0;
  // Elements from one row to the next of what matrices are multiplied with: their columns and zeros.
  uint32_t width_stride_ = 0;
  uint32_t attended_stride_ = 0;
  uint32_t feed_stride_ = 0;

  // [tokens_max, ...]
  float* residual_ = nullptr;       // [embedding]
  uint16_t* normalized_ = nullptr;  // [width_stride_] bf16
  float* query_key_value_ = nullptr;
  uint16_t* queries_ = nullptr;   // [heads, head_dim] binary16
  uint16_t* attended_ = nullptr;  // [attended_stride_] bf16: columns of attention_output
  uint32_t attended_begin_ = 0;   // of the heads' in a row
  uint16_t* product_ = nullptr;   // [feed_stride_] bf16
  float* cosines_ = nullptr;      // [pairs]
  float* sines_ = nullptr;
  float* hidden_ = nullptr;  // [embedding]
  float* logits_ = nullptr;  // [kLogitsRows, vocabulary]
};

}  // namespace deepserve::runner::cuda
