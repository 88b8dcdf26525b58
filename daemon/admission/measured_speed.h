// What a runner has measured of its own speed, how much that rests on, and what the runners of a model have
// measured together. Pure; a runner is not trusted: figures that cannot be count as unknown.
//
// The first tokens of a process say little: a short prompt may be prefilled ten times as fast, or as slowly,
// as a long one. So a runner is taken for as fast as its siblings until it has done enough itself; in between
// its own figures count by what they rest on (shrinkage towards the mean of the group, James and Stein 1961).
#pragma once

#include "ipc/lane/gauges.h"

namespace deepserve::daemon {

struct MeasuredSpeed {
  // Its own figures count for half after so much work.
  static constexpr double kHalfPrefill_tokens = 512;
  static constexpr double kHalfDecode_tokens = 128;
  // And for no more than so many times that among those of its siblings, however long it has been at work.
  static constexpr double kEvidenceMax = 16;

  double prefill_token_s = 0;  // 0: not measured
  double step_fixed_s = 0;     // of a step that decodes
  double step_per_sequence_s = 0;
  double step_per_context_token_s = 0;
  double prefilled_tokens = 0;  // what that rests on: computed, and generated
  double decoded_tokens = 0;

  bool knows_prefill() const { return prefill_token_s > 0; }
  bool knows_decode() const { return step_fixed_s + step_per_sequence_s + step_per_context_token_s > 0; }
};

MeasuredSpeed measured_by(const ipc::Gauges& gauges);

// `own` as far as it rests on something, the rest by `siblings`, which may take it in.
MeasuredSpeed shrunk(const MeasuredSpeed& own, const MeasuredSpeed& siblings);

// The mean of several, each by what it rests on.
class SpeedMean {
 public:
  void add(const MeasuredSpeed& one);
  // What none of them has measured is as in `before`.
  MeasuredSpeed mean(const MeasuredSpeed& before) const;

 private:
  MeasuredSpeed sum_;
  double prefill_weight_ = 0;
  double decode_weight_ = 0;
};

}  // namespace deepserve::daemon
