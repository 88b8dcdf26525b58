// Who decides: the daemon's admission core, or a baseline to hold it against. All hear the core's events and
// answer with its actions; what they do not need to hear they ignore.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/admission/admission_action.h"
#include "daemon/admission/admission_event.h"
#include "tests/sim/runner_shape.h"

namespace deepserve::sim {

class Policy {
 public:
  using Actions = daemon::AdmissionActions;
  virtual ~Policy() = default;

  virtual void step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::RunnerDown& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::RunnerTold& event, uint64_t now_ns, Actions& actions) = 0;
  virtual void step(const daemon::Accepted&, uint64_t /*now_ns*/, Actions&) {}
  virtual void step(const daemon::FirstToken&, uint64_t /*now_ns*/, Actions&) {}
  virtual void step(const daemon::TokensCame&, uint64_t /*now_ns*/, Actions&) {}
  virtual void step(const daemon::Tick&, uint64_t /*now_ns*/, Actions&) {}
  // When a Tick is wanted without any event; 0: never.
  virtual uint64_t next_ns() const { return 0; }
  // Within which 90 of 100 first tokens come, as it said when the attempt arrived; 0: it does not say.
  virtual uint64_t predicted_ttft_ns(ipc::RequestId) const { return 0; }
  // Whether runners hear of its requests' classes.
  virtual bool tells_classes() const { return false; }
  // Whether it is held to the core's promises: nothing starts or waits beyond its deadline, all have an end.
  virtual bool keeps_promises() const { return false; }
};

// What only an oracle may ask: the true length of an attempt's answer.
class Truth {
 public:
  virtual ~Truth() = default;
  virtual uint32_t prompt_tokens(ipc::RequestId attempt) const = 0;
  virtual uint32_t output_tokens(ipc::RequestId attempt) const = 0;
};

struct PolicyOptions {
  RunnerShape shape;
  uint32_t runners = 1;
  uint64_t seed = 1;
  const Truth* truth = nullptr;  // outlives the policy
};

struct PolicyName {
  std::string_view name;
  std::string_view what;
};
const std::vector<PolicyName>& policy_names();
// Null: there is no policy of this name.
std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options);

// The default deadlines of the classes (DESIGN 11), from an attempt's arrival to its first token.
inline constexpr uint64_t kDeadlines_ns[] = {500'000'000, 5'000'000'000, 600'000'000'000};

}  // namespace deepserve::sim
