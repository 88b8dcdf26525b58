// What work takes on one runner, by the figures that it measures of itself (ipc::Gauges, DESIGN 7): prefill
// at mu_p uncached tokens a second, and t_step(b, ctx) = a0 + a1 b + a2 ctx for a step that decodes b
// sequences with ctx tokens of context together. Pure.
//
// The cost of a request is in GPU-seconds, the dominant of two shares of the runner: of its time (prefill,
// and of each decode step the part that is this sequence's when the batch is as large as it gets) and of its
// KV memory (tokens held x how long). A runner that is fully used does one GPU-second a second.
#pragma once

#include <cstdint>

#include "daemon/admission/admission_event.h"
#include "daemon/admission/measured_speed.h"

namespace deepserve::daemon {

// What a request asks of a runner; tokens of all its choices together, but the prompt's, which they share.
struct RequestWork {
  uint32_t prompt_tokens = 0;
  uint32_t uncached_tokens = 0;  // of these, to be computed
  uint32_t output_tokens = 0;
  uint32_t choices = 1;
};

class ServiceTime {
 public:
  // Of a request while nothing is measured: shares need some price from the first request on.
  static constexpr double kUnknownPrefill_s = 0.2e-3;  // a token
  static constexpr double kUnknownDecode_s = 2e-3;     // a token
  static constexpr uint32_t kContextTokens = 512;      // of a sequence, to size the full batch by

  ServiceTime() = default;
  explicit ServiceTime(const RunnerCapacity& capacity);

  void set(const MeasuredSpeed& speed);
  void set(const ipc::Gauges& gauges) { set(measured_by(gauges)); }

  // False: nothing is measured yet and every time below is 0.
  bool known() const { return speed_.knows_prefill(); }
  double prefill_seconds(double tokens) const;
  double step_seconds(double sequences, double context_tokens) const;
  double cost(const RequestWork& work) const;
  // The sequences that decode at once where work abounds: as many as seats, step_max and KV memory allow.
  uint32_t full_batch() const { return full_batch_; }
  // The most sequences, at least one, of a batch whose step is not longer than step_max.
  uint32_t batch_within_step_max(double context_tokens_each) const;
  uint32_t context_tokens() const { return capacity_.context_tokens; }  // 0: not known
  uint64_t kv_tokens() const { return uint64_t{capacity_.kv_blocks} * capacity_.kv_block_tokens; }

 private:
  void size_batch();

  RunnerCapacity capacity_;
  MeasuredSpeed speed_;
  uint32_t full_batch_ = 1;
};

}  // namespace deepserve::daemon
