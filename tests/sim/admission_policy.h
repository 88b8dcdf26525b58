// The daemon's own admission core and its model's circuit breaker behind the simulator's interface, with the
// configuration's defaults. There is no fallback.
#pragma once

#include "daemon/admission/admission.h"
#include "daemon/admission/fallback.h"
#include "tests/sim/policy.h"

namespace deepserve::sim {

class AdmissionPolicy : public Policy {
 public:
  explicit AdmissionPolicy(const PolicyOptions& options) : core_(options_of(options)) {}

  void step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) override;
  void step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::RunnerDown& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::RunnerTold& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::Accepted& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::FirstToken& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::TokensCame& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
  }
  void step(const daemon::Tick& event, uint64_t now_ns, Actions& actions) override {
    core_.step(event, now_ns, actions);
    see_probe(actions, now_ns);
  }
  uint64_t next_ns() const override { return core_.next_ns(); }
  uint64_t predicted_ttft_ns(ipc::RequestId request) const override {
    const auto view = core_.view(request);
    return view ? view->predicted_ttft_ns : 0;
  }
  bool tells_classes() const override { return true; }
  bool keeps_promises() const override { return true; }

  const daemon::Admission& core() const { return core_; }

 private:
  static daemon::AdmissionOptions options_of(const PolicyOptions& options);
  void see_probe(const Actions& actions, uint64_t now_ns);

  daemon::Admission core_;
  daemon::Fallbacks fallbacks_{{{}}};  // of one model
  ipc::RequestId probe_ = 0;           // whose end decides over the breaker; 0: none runs
};

}  // namespace deepserve::sim
