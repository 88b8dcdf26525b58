// A runner as dsd sees it: the scheduling rules of runner/engine over counts instead of tokens, and a device
// whose steps take what a RunnerShape says.
//
// A step: waiting sequences are admitted by class, then in the order of their coming, while there are seats,
// blocks and prefill for them; a higher class preempts lower ones. While a higher class prefills, lower ones
// do not decode, but for the step after kPassedOverMax; beside vip work the decode batch stays under
// step_max, the others taking turns. Where a decoding sequence finds no block, the last in priority is
// preempted and recomputed. Prefill takes what step_budget.h allows beside decodes, shortest first, half of
// it to the first. The device's true constants stand in for the speeds that an engine learns. Not modelled:
// prefix reuse, drafts, several choices of a request.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"
#include "tests/sim/random.h"
#include "tests/sim/runner_shape.h"

namespace deepserve::sim {

// What dsd submits.
struct Submission {
  uint64_t attempt = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint32_t prompt_tokens = 1;
  uint32_t output_tokens = 1;  // after which the model says its end: dsd does not know
  uint32_t tokens_max = 1;     // that it may generate, at least output_tokens
  uint32_t generated = 0;      // of output_tokens, by a runner before it died
};

struct RunnerEvent {
  enum class Kind : uint8_t { kAccepted, kToken, kFinished };
  Kind kind = Kind::kToken;
  uint64_t attempt = 0;
  uint32_t generated = 0;  // tokens of the answer so far
  uint64_t prefilled = 0;  // tokens computed by prefill, recomputed ones as often as they were
  uint32_t prompt_tokens = 0;
};

class RunnerModel {
 public:
  static constexpr uint64_t kPassedOverMax = 8;
  static constexpr uint64_t kPassedByMax = 64;
  static constexpr uint64_t kStarved = 1'024;
  static constexpr uint64_t kStarvedPart = 8;

  RunnerModel(const RunnerShape& shape, uint64_t seed, uint32_t index);

  void submit(const Submission& submission);
  // It leaves before the next step; false: not here.
  bool cancel(uint64_t attempt);

  bool has_work() const { return !running_.empty() || !waiting_.empty(); }
  // Plans and runs a step of so many seconds; what it tells comes from end_step(), at its end.
  double begin_step();
  // Appends what the step brought: first who was accepted, then tokens and ends.
  void end_step(std::vector<RunnerEvent>& events);
  // The process is gone: all that it had, with what each had generated and computed. In the middle of a step
  // the step is lost.
  std::vector<RunnerEvent> die();

  ipc::Gauges gauges() const;
  uint32_t sequences() const { return static_cast<uint32_t>(running_.size() + waiting_.size()); }
  const RunnerShape& shape() const { return shape_; }
  double busy_seconds() const { return busy_seconds_; }
  double work_seconds() const { return work_seconds_; }  // of all that it computed, by RunnerShape's price
  uint64_t preemptions() const { return preemptions_; }
  // CHECKs that used + free blocks are all there are and that every sequence holds what it needs.
  void check_accounting() const;

 private:
  struct Sequence {
    Submission work;
    uint64_t order = 0;
    uint32_t computed = 0;
    uint32_t blocks = 0;
    uint32_t chunk = 0;  // of the step that runs
    uint64_t last_step = 0;
    uint64_t waiting_since = 0;
    uint64_t steps_waited = 0;
    uint64_t prefilled = 0;
    uint32_t preemptions = 0;
    bool told_accepted = false;
    bool sits_out = false;

    uint32_t size() const { return work.prompt_tokens + work.generated; }
    uint32_t pending() const { return size() - computed; }
    uint32_t final_size() const { return work.prompt_tokens + work.tokens_max; }
  };
  using Line = std::vector<std::unique_ptr<Sequence>>;

  static bool before(const Sequence& a, const Sequence& b);
  static void insert(Line& line, std::unique_ptr<Sequence> sequence);
  uint32_t blocks_for(uint32_t tokens) const;
  uint32_t growth_of(const Sequence& sequence) const;
  void promote_starved();
  double prefill_seconds_max() const;
  bool gets_prefill(const Sequence& candidate, double seconds_max) const;
  bool fits(const Sequence& candidate, size_t running, uint64_t available) const;
  bool make_room(const Sequence& candidate);
  void admit(double seconds_max);
  void preempt_last();
  bool extend(Sequence& sequence);
  void choose_decodes();
  void take_decodes();
  double take_prefills(double seconds_max);
  void give(Sequence& sequence, double share, double& seconds, uint32_t& tokens);

  const RunnerShape shape_;
  Random random_;
  Line running_;  // both by priority
  Line waiting_;
  std::vector<Sequence*> prefills_;
  std::vector<Sequence*> lower_;
  uint32_t blocks_free_;
  uint64_t step_ = 0;
  uint64_t promotion_debt_ = 0;
  uint64_t orders_ = 0;
  uint64_t ends_ = 0;
  uint32_t growth_bits_ = 0;
  uint32_t decodes_ = 0;  // of the step that runs
  uint64_t context_ = 0;
  uint64_t preemptions_ = 0;
  uint64_t prompt_tokens_ = 0;
  uint64_t generated_tokens_ = 0;
  double busy_seconds_ = 0;
  double work_seconds_ = 0;
};

}  // namespace deepserve::sim
