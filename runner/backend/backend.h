// The one interface between the engine and a device: a backend computes, the engine decides.
//
// The engine owns sequences, block tables and sampling; the backend owns weights and the memory of the KV
// cache. Results for one sequence do not depend on what else is in the batch, on how its prompt was cut into
// chunks, or on the number of threads (DESIGN 8).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "kernels/cpu/kv_format.h"
#include "runner/backend/row_draw.h"
#include "runner/backend/step_work.h"

namespace deepserve::runner {

class Collective;
class NcclGroup;

using BlockId = uint32_t;

struct BackendInfo {
  std::string architecture;  // "llama", "qwen2", "qwen3"
  std::string weights_type;  // the type most of the weights have, "Q8_0"
  std::string isa;           // "scalar", "avx2", "avx512"
  std::string numerics_id;
  bool deterministic = true;  // bits depend on no step's shape
  uint64_t weight_bytes = 0;
  uint64_t parameters = 0;
  uint32_t vocabulary = 0;
  uint32_t embedding = 0;  // width of a hidden state
  uint32_t context_tokens_model = 0;
  uint32_t block_tokens = 0;      // tokens per KV block
  uint32_t blocks = 0;            // ids are 0..blocks-1
  uint32_t batch_tokens_max = 0;  // most new tokens in one step
  bool draws = false;             // from rows that say what is to be drawn
  bool runs_ahead = false;        // a step may be started while the one before it runs; draws, too
  StepWork work;                  // what steps ask of the device at the least
};

// What one sequence wants of a step: run `tokens` at positions position, position+1, ...
struct BatchEntry {
  std::span<const TokenId> tokens;
  uint32_t position = 0;            // of tokens[0]; everything before it is in the KV cache
  std::span<const BlockId> blocks;  // [ceil((position + tokens.size()) / block_tokens)], in order
  uint32_t logits_rows = 0;         // logits of the last so many tokens are wanted (0: none)
  bool hidden_rows = false;         // the hidden states of all tokens are wanted
  float sums_scale = 0;             // at which the rows' exponentials are added up (0: not)
  // [logits_rows]: tokens are drawn from the rows, and their logits stay where they are; empty: the logits
  // are wanted. Only for a backend that draws.
  std::span<const RowDraw> draws = {};
  // The last token is the one that the step before this draws as number `last_drawn` of its drawn_tokens, or
  // any if that row is at fault, whatever stands in its place here: for a step that is started ahead.
  static constexpr uint32_t kNotDrawn = std::numeric_limits<uint32_t>::max();
  uint32_t last_drawn = kNotDrawn;
};

// What a step writes, row after row, entry by entry.
struct StepOutputs {
  std::span<float> logits;  // [sum of logits_rows that are not drawn from, vocabulary] float32, raw
  std::span<float>
      hidden;  // [sum of the tokens of entries with hidden_rows, embedding]: the final norm's output
  // The outlines of the same rows (kernels/cpu/logits.h), each [rows, logits_chunks(vocabulary)]; empty: not
  // wanted.
  std::span<float> largest = {};
  std::span<float> sums = {};               // of rows without a sums_scale: not written
  std::span<DrawnRow> drawn_rows = {};      // [sum of draws]
  std::span<DrawnToken> drawn_tokens = {};  // [sum of their choices]
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;

  // One forward pass of the whole batch. Errors: kBadModelFile when a mapped file changed under us; kInternal
  // for a device fault. Bad arguments CHECK.
  virtual Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) = 0;

  // The same in two halves. What `batch` borrows may change once start() has returned; `outputs` are written
  // by the time that finish() has. Where info().runs_ahead a second step may be started before finish(), with
  // outputs of its own, unless either gives logits or hidden states; finish() is of the one that was started
  // first. Where it is not, start() does it all.
  virtual Result<void> start(std::span<const BatchEntry> batch, const StepOutputs& outputs) {
    return step(batch, outputs);
  }
  virtual Result<void> finish() { return {}; }
  // finish() would not have to wait.
  virtual bool is_over() const { return true; }

  // Copies the KV of one block onto another (copy-on-write).
  virtual void copy_block(BlockId from, BlockId to) = 0;

  // How long the device itself has been at work on steps that are finished, since it was made; 0 where nobody
  // measures that, which is never where info().runs_ahead.
  virtual double device_seconds() const { return 0; }
};

struct BackendModel;
struct BackendOptions;
// Makes a backend of a model whose files are good.
using BackendMaker = Result<std::unique_ptr<Backend>> (*)(BackendModel model, const BackendOptions& options);

struct BackendOptions {
  BackendMaker make = nullptr;  // nullptr: make_cpu_backend
  uint64_t memory_bytes = 0;    // of the device that the backend may take, where it has its own; 0: all
  uint64_t kv_bytes = 0;        // memory for the KV cache; 0: one sequence of the model's whole context
  kernels::KvType kv_type = kernels::KvType::kF32;  // what its numbers are stored as
  // Multiplies quantised weights with inputs rounded to bytes; false: with float32 inputs, many times slower.
  bool rounds_inputs = true;
  uint32_t threads = 1;
  uint32_t batch_tokens_max = 512;
  bool deterministic = false;  // on a GPU: equal bits whatever the batch and chunks are, as on a CPU always
  bool allow_jit = false;      // on a GPU: its driver may compile what there is no machine code for
  std::string isa;             // "": the best this CPU has; "scalar", "avx2" or "avx512" to force one
  // Set: this process has one rank's part of the model, and kv_bytes are the whole group's. Outlives the
  // backend.
  Collective* collective = nullptr;
  NcclGroup* nccl = nullptr;  // of ranks on GPUs besides: what DeviceKind::open gave; outlives it, too
  // Called with what was read of the files so far, then with all of it and what was packed so far; may be
  // empty.
  std::function<void(uint64_t bytes_loaded)> on_bytes_loaded;
  // Runs what reads and packs the weights, to its end, on whatever thread; empty: on the caller's.
  std::function<void(const std::function<void()>& work)> aside;

  template <typename Work>
  auto run_aside(const Work& work) const {
    if (!aside) return work();
    std::optional<decltype(work())> result;
    aside([&] { result.emplace(work()); });
    return std::move(*result);
  }
};

}  // namespace deepserve::runner
