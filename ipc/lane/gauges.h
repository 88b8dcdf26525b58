// What a runner tells dsd about itself without a message: gauges, progress, and its last words.
#pragma once

#include <array>
#include <cstdint>

namespace deepserve::ipc {

// One consistent snapshot (seqlock). Plain numbers only.
struct Gauges {
  double prefill_tokens_per_second = 0;  // mu_p of DESIGN 7; 0 until measured
  double step_fixed_seconds = 0;         // t_step(b, ctx) = a0 + a1 b + a2 ctx
  double step_per_sequence_seconds = 0;
  double step_per_context_token_seconds = 0;
  uint32_t kv_blocks_free = 0;
  uint32_t kv_blocks_total = 0;
  uint32_t sequences_running = 0;
  uint32_t sequences_waiting = 0;
  uint64_t prompt_tokens_total = 0;
  uint64_t generated_tokens_total = 0;
  uint64_t preemptions_total = 0;
  uint64_t prefix_queries_total = 0;
  uint64_t prefix_hits_total = 0;
  uint64_t draft_tokens_total = 0;  // proposed by prompt lookup and run
  uint64_t draft_tokens_accepted_total = 0;
};

struct Progress {
  uint64_t steps = 0;  // engine steps and idle turns of its loop; stands still only when the runner is stuck
  uint64_t bytes_loaded = 0;  // while loading: read of the files, then also packed
};

// Why a process died, as far as it could say. kind 0: it said nothing.
struct DeathCause {
  // 1: fatal signal, 2: CHECK or abort, 3: an error it reported, 4: model file changed under us, 5: its
  // device failed
  uint32_t kind = 0;
  uint32_t number = 0;           // the signal, the Code, or of kind 5 the device's own (Error::device_error)
  std::array<char, 112> text{};  // zero-terminated
};

}  // namespace deepserve::ipc
