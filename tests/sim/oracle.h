// What could be had by one who knows every length: the freshest goes first (it has the most time left), vip
// before normal before batch, and only what surely fits into its deadline and, at its true final length, into
// the KV cache beside all that run. Refused is who can no longer make it. It does not choose the short ones:
// who chooses by length serves more requests, and never the long ones.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/sim/policy.h"

namespace deepserve::sim {

class Oracle : public Policy {
 public:
  explicit Oracle(const PolicyOptions& options) : options_(options), runners_(options.runners) {}

  void step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerDown& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::RunnerTold& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::FirstToken& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Tick& event, uint64_t now_ns, Actions& actions) override;
  bool tells_classes() const override { return true; }

 private:
  struct Waiting {
    ipc::RequestId request = 0;
    ipc::Class service_class = ipc::Class::kNormal;
    uint64_t deadline_ns = 0;
    bool replay = false;
  };
  struct Sent {
    Waiting waiting;
    uint32_t runner = 0;
    uint32_t final_blocks = 0;
    double prefill_seconds = 0;  // not done yet
  };
  struct Runner {
    bool up = false;
    uint32_t sequences = 0;
    uint64_t final_blocks = 0;
    std::array<double, 3> prefill_seconds{};  // by class, of those without a first token
  };

  double prefill_seconds(ipc::RequestId request) const;
  void leave(Sent& sent);
  bool fits(const Waiting& waiting, const Runner& runner, uint64_t now_ns) const;
  void pump(uint64_t now_ns, Actions& actions);

  const PolicyOptions options_;
  std::array<std::vector<Waiting>, 3> lines_;  // the freshest last
  std::vector<Waiting> replays_;
  std::vector<Runner> runners_;
  std::unordered_map<ipc::RequestId, Sent> sent_;
};

}  // namespace deepserve::sim
