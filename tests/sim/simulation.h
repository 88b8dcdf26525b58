// One run: arrivals, a policy, modelled runners, faults, on a virtual clock. The same options give the same
// trace, told by its hash.
//
// An *ask* is what somebody wants; each time that it is sent it is an *attempt*. Lanes take no time.
// Invariants are CHECKed at each step: an action must fit its attempt's state, an attempt has one outcome,
// blocks are conserved, a deadline that is over starts nothing, nobody waits beyond it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/admission/admission_action.h"
#include "tests/sim/demand.h"
#include "tests/sim/runner_model.h"
#include "tests/sim/runner_shape.h"

namespace deepserve::sim {

// A runner's process dies, or it drains for a reload, and is back after `away_seconds` from then on (or from
// the end of its last request on); or it stays and for so long fails all that it has with their next token.
enum class FaultKind : uint8_t { kDies, kDrains, kFails };
struct Fault {
  double at_seconds = 0;
  uint32_t runner = 0;
  FaultKind kind = FaultKind::kDies;
  double away_seconds = 2;
};

// From then on what the policy hears of time is so much more, or less, than it was: its clock leaps or goes
// back.
struct ClockJump {
  double at_seconds = 0;
  double by_seconds = 0;
};

struct SimulationOptions {
  RunnerShape shape = kCpuShape;
  uint32_t runners = 1;
  Demand demand;
  double capacity = 1;  // requests a second: what a load of 1 is
  double seconds = 600;
  uint64_t seed = 1;
  std::string_view policy = "deepserve";
  std::vector<Fault> faults;
  std::vector<ClockJump> jumps;
};

enum class RetryHabit : uint8_t { kObeys, kIgnores, kGivesUp };

enum class AskOutcome : uint8_t {
  kOpen,      // the run ended first
  kFull,      // the whole answer within its deadline and pace
  kDegraded,  // as kFull, but cut short by the policy
  kLate,      // its first token came too late
  kSlow,      // its tokens came too slowly
  kRefused,   // and it did not come back any more
  kFailed,    // by its runner
  kCount,
};

struct Ask {
  uint32_t stream = 0;
  uint32_t client = 0;  // of its stream
  RetryHabit habit = RetryHabit::kGivesUp;
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
  uint32_t prompt_bytes = 0;
  uint32_t tokens_max = 0;
  uint32_t tries = 0;
  AskOutcome outcome = AskOutcome::kOpen;
  uint64_t first_ns = 0;
};

enum class AttemptState : uint8_t { kWaits, kSent, kRuns, kRefused, kFinished, kFailed };

struct Attempt {
  uint32_t ask = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  AttemptState state = AttemptState::kWaits;
  daemon::RefusalReason reason = daemon::RefusalReason::kCount;
  uint32_t runner = 0;
  uint32_t tokens_max = 0;
  uint32_t generated = 0;
  uint64_t prefilled = 0;  // tokens, of all runners that had it
  uint64_t arrived_ns = 0;
  uint64_t deadline_ns = 0;        // an instant
  uint64_t clock_deadline_ns = 0;  // the same by the policy's clock, going back taken for standing still
  uint64_t sent_ns = 0;            // first
  uint64_t first_token_ns = 0;
  uint64_t ended_ns = 0;
  uint64_t predicted_ns = 0;         // TTFT
  uint64_t promised_ns = 0;          // the instant at which its ticket's slot begins, where it came with one
  double promised_wait_seconds = 0;  // from the refusal to then
  uint64_t refused_until_ns = 0;     // the instant that its refusal named
  bool booked = false;               // there was a ticket with it
  bool accepted = false;             // by a runner, once and for all
  bool returned = false;             // from a runner that died
  bool would_have_fit = false;  // refused, though time was left over before its deadline: see watch_room()
};

// What became of a run.
struct SimulationResult {
  std::vector<Ask> asks;
  std::vector<Attempt> attempts;  // [0] is nobody's
  double seconds = 0;
  double busy_seconds = 0;  // of all runners
  double work_seconds = 0;
  double longest_step_seconds = 0;
  double idle_while_waiting_seconds = 0;  // a runner had nothing to do while somebody waited
  uint64_t steps = 0;
  uint64_t preemptions = 0;
  uint64_t events = 0;
  uint64_t trace_hash = 0;

  double work_of(const Attempt& attempt, const RunnerShape& shape) const {
    return shape.work_seconds(static_cast<double>(attempt.prefilled), attempt.generated);
  }
};

SimulationResult simulate(const SimulationOptions& options);

}  // namespace deepserve::sim
