// What one runner has in hand, as far as admission knows: who runs there, how much of their prompts is still
// to be prefilled, what they will grow to; and what that means for one more. Pure.
//
// It assumes of the runner what runner/engine/scheduler.h promises: a prefill of a higher class is not held
// up by lower classes, which it may preempt; prefills of one class share the steps, the shortest first;
// decodes of the same or a higher class leave prefill a bit less than half of the time.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/admission/admission_event.h"
#include "daemon/admission/kv_forecast.h"
#include "daemon/admission/service_time.h"

namespace deepserve::daemon {

// Of a request that is at a runner or about to be.
struct RequestLoad {
  ipc::Class service_class = ipc::Class::kNormal;
  uint32_t choices = 1;
  uint32_t prompt_tokens = 0;
  uint32_t uncached_tokens = 0;
  uint32_t generated_tokens = 0;  // of all choices
  uint32_t expected_tokens = 0;   // of a choice, in the end; more than it has
  bool prefilled = false;         // its first token is out
  bool raised = false;            // the runner takes it for normal

  ipc::Class runner_class() const { return raised ? ipc::Class::kNormal : service_class; }
  uint32_t generated_each() const { return generated_tokens / choices; }
};

class RunnerBook {
 public:
  // Requests of the lower classes go to a runner whose prefills in hand, the longest not counted, take no
  // longer: work is bound as late as possible, and a long prompt does not hold up short ones.
  static constexpr double kBoundAhead_s = 0.1;
  // Of prefill beside decodes that are not held for it, in times of prefill alone (StepBudget::kDecodeShare).
  static constexpr double kBesideDecodes = 2.2;

  void up(const RunnerUp& event, double step_max_s);
  void told(const RunnerTold& event);
  void down() { up_ = false; }
  // `load` is borrowed until it is removed.
  void add(const RequestLoad& load, uint64_t now_ns);
  void remove(const RequestLoad& load);
  // The first token of `load` is out.
  void prefilled(const RequestLoad& load, uint64_t now_ns);

  bool is_up() const { return up_; }
  bool takes_messages() const { return up_ && has_room_; }
  uint32_t model() const { return model_; }
  const ServiceTime& service_time() const { return time_; }
  uint32_t sequences() const { return sequences_; }
  uint32_t sequences_max() const { return capacity_.sequences_max; }
  bool idle() const { return loads_.empty(); }
  const std::vector<const RequestLoad*>& loads() const { return loads_; }

  // Whether there is a seat for each of its choices; one that has more than there are seats gets them when
  // the runner is empty. `capped`: the batch is to stay within step_max. What vip may preempt does not count
  // against it.
  bool has_seats(const RequestLoad& load, bool capped) const;
  bool may_bind(const RequestLoad& load, uint64_t now_ns) const;
  // Whether the future peak of KV blocks, with this one, leaves `headroom` (0..1) of them free.
  bool has_memory(const RequestLoad& load, double headroom) const;
  // From its dispatch to its first token, were it dispatched now.
  double start_seconds(const RequestLoad& load, uint64_t now_ns) const;
  double context_tokens() const;

 private:
  double prefill_ahead_seconds(const RequestLoad& load, uint64_t now_ns) const;
  double prefill_done_seconds(ipc::Class service_class, uint64_t now_ns) const;
  bool decodes_beside(ipc::Class service_class) const;  // of it or a higher one
  uint32_t sequences_up_to(ipc::Class service_class) const;

  bool up_ = false;
  bool has_room_ = false;
  uint32_t model_ = 0;
  uint32_t sequences_ = 0;
  RunnerCapacity capacity_;
  ServiceTime time_;
  std::vector<const RequestLoad*> loads_;
  mutable std::vector<KvHolder> holders_;  // has_memory's
  uint64_t prefilling_since_ns_ = 0;       // how long the runner has worked on what is still to be prefilled
};

}  // namespace deepserve::daemon
