// What one runner has in hand, as far as admission knows: who runs there, how much of their prompts is still
// to be prefilled, what they will grow to; and what that means for one more. Pure.
//
// It assumes of the runner what runner/engine/scheduler.h promises: a prefill of a higher class is not held
// up by lower classes, which it may preempt; prefills of one class share the steps, the shortest first;
// decodes of the same or a higher class leave prefill a bit less than half of the time, and more where more
// are to be prefilled than decode, or lower classes sit out (runner/engine/step_budget.h).
#pragma once

#include <array>
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
  uint64_t deadline_ns = 0;       // of its first token, an instant; 0: none

  ipc::Class runner_class() const { return raised ? ipc::Class::kNormal : service_class; }
  uint32_t generated_each() const { return generated_tokens / choices; }
};

class RunnerBook {
 public:
  // Requests of the lower classes go to a runner whose prefills in hand, the longest not counted, take no
  // longer: work is bound as late as possible, and a long prompt does not hold up short ones.
  static constexpr double kBoundAhead_s = 0.1;
  // At most, of prefill beside decodes that are not held for it, in times of prefill alone: what was done
  // meanwhile was surely done at no less than that.
  static constexpr double kBesideDecodes = 2.2;

  void up(const RunnerUp& event);
  void told(const RunnerTold& event);
  // As far as it has not measured enough itself it is taken for as fast as its model's runners are.
  void share(const MeasuredSpeed& siblings) { time_.set(shrunk(measured_, siblings)); }
  void down() { up_ = false; }
  // `load` is borrowed until it is removed.
  void add(const RequestLoad& load, uint64_t now_ns);
  void remove(const RequestLoad& load);
  // The first token of `load` is out.
  void prefilled(const RequestLoad& load, uint64_t now_ns);

  bool is_up() const { return up_; }
  bool takes_messages() const { return up_ && has_room_; }
  uint32_t model() const { return model_; }
  const MeasuredSpeed& measured() const { return measured_; }
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
  // Whether `load`, the shorter one, would go ahead of a longer prompt of its class that is in time without
  // it and late with it, although it could itself wait for that one.
  bool holds_up(const RequestLoad& load, uint64_t now_ns) const;
  // Whether the future peak of KV blocks, with this one, leaves `headroom` (0..1) of them free.
  bool has_memory(const RequestLoad& load, double headroom) const;
  // Whether others of its class or a higher one are still to be prefilled.
  bool prefills_ahead(const RequestLoad& load) const;
  // From its dispatch to its first token, were it dispatched now.
  double start_seconds(const RequestLoad& load, uint64_t now_ns) const;
  // The same with nothing else to prefill.
  double first_start_seconds(const RequestLoad& load) const;
  double context_tokens() const;

 private:
  // What is prefilled before `load` or beside it.
  struct Ahead {
    double seconds = 0;      // of prefill alone
    uint32_t sequences = 0;  // that decode before it does
  };
  double start_after(const Ahead& ahead, const RequestLoad& load) const;
  Ahead prefill_ahead(const RequestLoad& load, uint64_t now_ns) const;
  struct Decodes {
    uint32_t count = 0;
    double context_tokens = 0;
    void add(const RequestLoad& load);
  };
  double stretch_beside(const Decodes& beside, const Decodes& lower, uint32_t prefills) const;
  double stretch(const RequestLoad& load, uint32_t ahead) const;
  double prefilling_for_seconds(ipc::Class service_class, uint64_t now_ns) const;
  double prefill_done_seconds(ipc::Class service_class, uint64_t now_ns) const;
  bool decodes_beside(ipc::Class service_class) const;  // of it or a higher one
  uint32_t sequences_up_to(ipc::Class service_class) const;

  bool up_ = false;
  bool has_room_ = false;
  uint32_t model_ = 0;
  uint32_t sequences_ = 0;
  RunnerCapacity capacity_;
  MeasuredSpeed measured_;  // by itself
  ServiceTime time_;
  std::vector<const RequestLoad*> loads_;
  mutable std::vector<KvHolder> holders_;  // has_memory's
  // Of the prefills of a class and those above it.
  struct Prefilling {
    uint64_t since_ns = 0;  // the last first token of them, or when the first of them came
    double carried_s = 0;   // of prefill that was surely done by then of what is still in hand
  };
  std::array<Prefilling, static_cast<size_t>(ipc::Class::kCount)> prefilling_;
};

}  // namespace deepserve::daemon
