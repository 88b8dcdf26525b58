#include "daemon/admission/service_time.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {

ServiceTime::ServiceTime(const RunnerCapacity& capacity) : capacity_(capacity) {
  size_batch();
}

void ServiceTime::set(const MeasuredSpeed& speed) {
  speed_ = speed;
  size_batch();
}

void ServiceTime::size_batch() {
  full_batch_ = std::max(1u, std::min(capacity_.sequences_max, batch_within_step_max(kContextTokens)));
  if (kv_tokens() != 0) {
    const auto by_memory = static_cast<uint32_t>(kv_tokens() / kContextTokens);
    full_batch_ = std::max(1u, std::min(full_batch_, by_memory));
  }
}

double ServiceTime::prefill_seconds(double tokens) const {
  return tokens * speed_.prefill_token_s;
}

double ServiceTime::step_seconds(double sequences, double context_tokens) const {
  return speed_.step_fixed_s + speed_.step_per_sequence_s * sequences +
         speed_.step_per_context_token_s * context_tokens;
}

uint32_t ServiceTime::batch_within_step_max(double context_tokens_each) const {
  const double each_s = speed_.step_per_sequence_s + speed_.step_per_context_token_s * context_tokens_each;
  if (each_s <= 0 || capacity_.step_max_s <= 0) return capacity_.sequences_max;
  const double fits = std::floor((capacity_.step_max_s - speed_.step_fixed_s) / each_s);
  return static_cast<uint32_t>(
      std::clamp(fits, 1.0, static_cast<double>(std::max(1u, capacity_.sequences_max))));
}

double ServiceTime::cost(const RequestWork& work) const {
  const double output = work.output_tokens;
  if (!known()) return kUnknownPrefill_s * work.uncached_tokens + kUnknownDecode_s * output + 1e-6;
  // A sequence's context grows from the prompt to prompt and answer: half of the answer on average.
  const double choices = std::max(1u, work.choices);
  const double context = work.prompt_tokens + 0.5 * output / choices;
  const double step_s = speed_.step_fixed_s / full_batch_ + speed_.step_per_sequence_s +
                        speed_.step_per_context_token_s * context;
  const double compute_s = prefill_seconds(work.uncached_tokens) + output * step_s;
  if (kv_tokens() == 0) return compute_s + 1e-6;
  const double steps = output / choices;
  const double held_s =
      prefill_seconds(work.uncached_tokens) + steps * step_seconds(full_batch_, full_batch_ * kContextTokens);
  const double held_tokens = work.prompt_tokens + 0.5 * output;
  const double memory_s = held_s * std::min(1.0, held_tokens / static_cast<double>(kv_tokens()));
  return std::max(compute_s, memory_s) + 1e-6;
}

}  // namespace deepserve::daemon
