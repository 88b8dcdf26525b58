// What all baselines have in common: a queue in front of the runners, from which one is sent wherever a
// runner has a seat. What differs: who is refused on arrival, who is next, who is dropped while it waits.
//
// Who comes back from a runner that died goes first. A refusal says to come back in a second, as servers do
// that know no better.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "tests/sim/policy.h"

namespace deepserve::sim {

class Baseline : public Policy {
 public:
  explicit Baseline(const PolicyOptions& options);

  void step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerDown& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerTold& event, uint64_t now_ns, Actions& actions) override;

 protected:
  static constexpr uint64_t kRetryAfter_ms = 1'000;
  struct Waiting {
    ipc::RequestId request = 0;
    ipc::Class service_class = ipc::Class::kNormal;
    uint64_t client_hash = 0;
    uint64_t arrived_ns = 0;
    uint64_t deadline_ns = 0;
  };
  struct Runner {
    bool up = false;
    uint32_t sequences = 0;
    ipc::Gauges gauges;
  };

  // False: it is refused on arrival.
  virtual bool takes(const Waiting&, uint64_t /*now_ns*/) { return true; }
  virtual void push(const Waiting& waiting) { queue_.push_back(waiting); }
  // Takes out who is next; may refuse others with drop() on the way. None: nobody.
  virtual std::optional<Waiting> pop(uint64_t now_ns, Actions& actions);
  // A runner for it, of those that are up; none: it waits.
  virtual std::optional<uint32_t> runner_for() const;
  virtual void sent(const Waiting&, uint64_t /*now_ns*/) {}
  void drop(const Waiting& waiting, Actions& actions) const;
  void pump(uint64_t now_ns, Actions& actions);

  const PolicyOptions options_;
  std::deque<Waiting> queue_;
  std::vector<Runner> runners_;
  std::unordered_map<ipc::RequestId, std::pair<uint32_t, Waiting>> sent_;  // and its runner

 private:
  std::deque<Waiting> replays_;
};

}  // namespace deepserve::sim
