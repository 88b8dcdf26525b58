// What a modelled runner's device can do: the constants of its steps, as a real runner's gauges showed them.
#pragma once

#include <cstdint>

namespace deepserve::sim {

// A step that decodes b sequences with ctx tokens of context and prefills n tokens takes
// a0 + a1 b + a2 ctx + n / prefill_tokens_per_second; the first three only where b > 0.
struct RunnerShape {
  const char* name = "";
  double prefill_tokens_per_second = 1;
  double step_fixed_seconds = 0;
  double step_per_sequence_seconds = 0;
  double step_per_context_token_seconds = 0;
  double step_noise = 0.03;  // sigma of the lognormal factor on each step's time
  uint32_t sequences_max = 1;
  uint32_t step_tokens_max = 512;
  uint32_t kv_blocks = 1;
  uint32_t block_tokens = 16;
  double step_seconds_max = 0.1;
  double step_target_seconds = 0.025;
  double prompt_scale = 1;  // of the lengths in lengths.h: faster devices are given longer work
  double output_scale = 1;
  double itl_seconds_max = 0.2;  // the mean time between an answer's tokens that its reader puts up with

  double decode_seconds(uint32_t sequences, uint64_t context_tokens) const {
    if (sequences == 0) return 0;
    return step_fixed_seconds + step_per_sequence_seconds * sequences +
           step_per_context_token_seconds * static_cast<double>(context_tokens);
  }
  // Device seconds that an answer's token takes in a full batch.
  double token_seconds() const { return step_fixed_seconds / sequences_max + step_per_sequence_seconds; }
  // What the work is worth, in device seconds.
  double work_seconds(double prefill_tokens, double generated_tokens) const {
    return prefill_tokens / prefill_tokens_per_second + generated_tokens * token_seconds();
  }
};

// A model of 0.5 billion parameters on one or two cores.
inline constexpr RunnerShape kCpuShape = {
    .name = "cpu",
    .prefill_tokens_per_second = 1'000,
    .step_fixed_seconds = 0.009,
    .step_per_sequence_seconds = 0.0003,
    .step_per_context_token_seconds = 2e-7,
    .sequences_max = 32,
    .kv_blocks = 1'024,
};

// The same on a single core, as Qwen2.5-0.5B's runner showed itself there: each sequence more makes a step
// longer by a fifth of what the first one takes.
inline constexpr RunnerShape kCoreShape = {
    .name = "core",
    .prefill_tokens_per_second = 750,
    .step_fixed_seconds = 0.009,
    .step_per_sequence_seconds = 0.0018,
    .step_per_context_token_seconds = 4e-7,
    .sequences_max = 64,
    .kv_blocks = 1'365,
    .prompt_scale = 0.5,
    .output_scale = 0.5,
};

// A model of some 30 billion parameters on one GPU.
inline constexpr RunnerShape kGpuShape = {
    .name = "gpu",
    .prefill_tokens_per_second = 20'000,
    .step_fixed_seconds = 0.015,
    .step_per_sequence_seconds = 0.0002,
    .step_per_context_token_seconds = 2e-8,
    .sequences_max = 256,
    .step_tokens_max = 2'048,
    .kv_blocks = 16'384,
    .prompt_scale = 4,
    .output_scale = 2,
};

}  // namespace deepserve::sim
