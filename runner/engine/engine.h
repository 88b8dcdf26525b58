// The engine: continuous batching over a paged KV cache, one step at a time, on one thread.
//
// Whoever owns it (the lane server, a test, a bench) feeds it requests and calls step() while has_work().
// Everything that happens is told to the EventSink, in order, from inside submit(), cancel() and step(); a
// sink never calls back into the engine. What is told is borrowed for the call.
//
// Files: prompt (what came in, checked), sequence (a request and its choices), scheduler and step_plan (who
// runs), block_pool and prefix_index (where its KV lies, and what is found again), step_budget, speed_model
// and prefill_cost (how much a step takes in), step_batch (what the model is asked), step_pipeline (steps
// under way), draw_rule, sampler and philox (the next token), row_draws and step_rows (the same where the
// backend draws), draft, speculation and speculator (tokens proposed ahead, and checked), continuation and
// stop_matcher (its text, and the end), prompt_echo and teller (what is told of prompt and answer), mean_pool
// (embeddings).
#pragma once

#include <cstdint>
#include <memory>

#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"
#include "runner/backend/backend.h"
#include "runner/model/chat/chat_template.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void accepted(const ipc::Accepted& event) = 0;
  virtual void delta(const ipc::Delta& event) = 0;
  // A token of a resumed choice, with the text that it completed: dsd has heard it and is not to be told
  // again, but the next dsd is. From inside submit(), ahead of the first delta() of its choice.
  virtual void resumed(const ipc::Delta& /*event*/) {}
  virtual void embedding(const ipc::Embedding& event) = 0;
  virtual void finished(const ipc::Finished& event) = 0;
  virtual void failed(const ipc::Failed& event) = 0;
  // The model runs next, which may take long: what was told so far should be on its way.
  virtual void model_runs() {}
};

// Tokens are drafted and checked (speculator.h): nowhere; where that is expected to pay; or wherever there is
// something to draft, whatever that takes.
enum class Speculation : uint8_t { kOff, kAuto, kAlways };

struct EngineOptions {
  uint32_t context_tokens = 0;  // 0: the model's own; more than the model's own is lowered to it
  uint32_t sequences_max = 64;
  uint32_t step_tokens_max = 512;  // prefill budget of a step; at most the backend's batch_tokens_max
  // Prefill that has a step for itself takes about so long; lower classes do not decode beside vip ones where
  // that would take longer. Until prefill's speed is measured, steps take as little of it as can be measured.
  // 0: no limit.
  double step_seconds_max = 0;
  // Prefill beside sequences that decode takes about so long at most (StepBudget). 0: no limit but the above.
  double step_target_seconds = 0;
  bool prefix_cache = true;  // what was computed is found again by sequences that begin alike
  Speculation speculation = Speculation::kOff;  // changes no token
  bool run_ahead = true;                        // where the backend can; changes no token either
  bool check_blocks = false;  // CHECKs the accounting of KV blocks in each step (debug builds always do)
};

// Since the engine was made: the time in step(), and how much of that in the backend. The rest is the
// engine's own.
struct EngineTimes {
  uint64_t steps = 0;
  double step_seconds = 0;
  double backend_seconds = 0;
};

class Engine {
 public:
  // `backend`, `tokenizer`, `chat` and `sink` must outlive the engine. Without a chat template, chat prompts
  // are refused with the error in its place, which is what the client reads.
  static Result<std::unique_ptr<Engine>> make(Backend& backend, const Tokenizer& tokenizer,
                                              const Result<ChatTemplate>& chat, const EngineOptions& options,
                                              EventSink& sink);
  virtual ~Engine() = default;

  // Takes the request: accepted() or failed() follows from here or from a later step(). A resumed choice
  // continues after its tokens, repeating none of them. Deltas hold end tokens (EOS, stop tokens) too,
  // without text, so that a resumed choice that had come to its end ends again at once. With `echo` each
  // choice that resumes nothing is told the whole prompt before its first token, as it is computed. An id
  // that is running already is ignored.
  virtual void submit(const ipc::Submit& request) = 0;
  // Its sequences leave before the next step is planned and their blocks are free; finished(cancelled)
  // follows. Unknown: nothing.
  virtual void cancel(ipc::RequestId request) = 0;
  virtual bool has_work() const = 0;
  // One batch through the model, or the start of it. With a backend that runs ahead the first call returns
  // while the device is at work; each further one starts the next batch before it waits for the one under
  // way, where that may be. An error is the device's: every request has been failed, the runner should exit.
  virtual Result<void> step() = 0;
  // The device is at work, and step() need not be called before then (monotonic_ns): requests that come until
  // then are still in time for the next batch. 0: there is nothing to wait for.
  virtual uint64_t next_step_ns() = 0;

  virtual ipc::Gauges gauges() const = 0;
  virtual EngineTimes times() const = 0;
  virtual uint32_t context_tokens() const = 0;
};

}  // namespace deepserve::runner
