// Tells a request's listeners its tokens: those of its prompt, and those of its answer.
#pragma once

#include <span>
#include <string_view>

#include "runner/engine/engine.h"
#include "runner/engine/sampler.h"
#include "runner/engine/sequence.h"
#include "runner/engine/step_rows.h"

namespace deepserve::runner {

// Builds deltas in memory that is kept from one to the next.
class Teller {
 public:
  // All must outlive the teller.
  Teller(const Tokenizer& tokenizer, Sampler& sampler, EventSink& sink)
      : tokenizer_(tokenizer), sampler_(sampler), sink_(sink) {}

  // The newest token of `sequence`, sampled from `row`, and the text that may be delivered now.
  void token(const Sequence& sequence, std::string_view text, const StepRow& row);

  // The newest token of `sequence`, which was generated elsewhere, and its text. `heard`: dsd knows it;
  // otherwise it waits in the request until that is accepted.
  void resumed(const Sequence& sequence, std::string_view text, bool heard);

  // Tells all choices that are to hear it the prompt's tokens before position `end`. For a scored echo
  // `rows` are those of the positions up to leader.computed, not included. kNumericFault: a row is no row of
  // logits.
  Result<void> echo(Sequence& leader, uint32_t end, const LogitsRows& rows);

 private:
  void begin(const Request& request, bool echo);
  void write_logprobs(std::span<const RankedToken> ranked);
  std::span<const RankedToken> rank_drawn(const StepRow& row, uint16_t choice);

  const Tokenizer& tokenizer_;
  Sampler& sampler_;
  EventSink& sink_;
  ipc::Delta delta_;
  std::vector<RankedToken> ranked_;
};

}  // namespace deepserve::runner
