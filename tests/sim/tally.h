// The figures of runs with the same options but their seeds, added up.
//
// What is counted of asks and attempts: those that came after the warm-up. Work is in device seconds, by
// RunnerShape's price; goodput is the work of full answers that ended after the warm-up and before arrivals
// did, a second.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tests/sim/simulation.h"

namespace deepserve::sim {

// Of `values`, which are put in order; 0 when there are none.
double quantile(std::vector<double>& values, double part);

struct ClassTally {
  std::array<uint64_t, static_cast<size_t>(AskOutcome::kCount)> outcomes{};
  std::array<uint64_t, static_cast<size_t>(daemon::RefusalReason::kCount)> reasons{};  // of attempts
  uint64_t asks = 0;
  uint64_t attempts = 0;
  uint64_t refused = 0;        // attempts
  uint64_t refused_later = 0;  // of them, more than a tick after they came: admitted first
  uint64_t would_have_fit = 0;
  uint64_t predicted = 0;  // attempts that started and had a prediction
  uint64_t covered = 0;    // of them, the first token came within it
  std::vector<double> ttft_seconds;
  std::vector<double> pace_seconds;  // mean time between tokens
  double work = 0;                   // of all that ended
  double good_work = 0;

  uint64_t full() const { return outcomes[static_cast<size_t>(AskOutcome::kFull)]; }
  double success() const { return asks == 0 ? 1 : static_cast<double>(full()) / static_cast<double>(asks); }
};

struct Tally {
  double warmup_seconds = 30;
  std::array<ClassTally, static_cast<size_t>(ipc::Class::kCount)> classes;
  double seconds = 0;  // measured
  double busy_seconds = 0;
  double wasted_work = 0;  // on attempts that were late, slow or cut short
  double longest_step_seconds = 0;
  double idle_while_waiting_seconds = 0;
  uint64_t preemptions = 0;
  uint64_t events = 0;
  uint64_t booked = 0;                        // tickets given
  uint64_t claimed = 0;                       // retries that came with one, on time
  uint64_t claims_served = 0;                 // of them, the first token came within the deadline
  std::vector<double> ticket_errors_seconds;  // from its slot (or the retry, if later) to its dispatch
  std::vector<double> ticket_errors;          // over max(1 s, 10 % of the wait that was asked for)

  void add(const SimulationOptions& options, const SimulationResult& result);

  ClassTally total() const;
  double goodput() const { return seconds == 0 ? 0 : total().good_work / seconds; }
  double success() const { return total().success(); }
  double wasted() const;  // part of all work
  double coverage() const;
  // Attempts that were refused though there was room, of all that came.
  double refused_needlessly() const;
};

}  // namespace deepserve::sim
