// Everything that one load point shows, added up from its requests. Pure.
//
// Counted are the requests whose first try was meant to be sent inside the window (after the warm-up);
// goodput counts by when an answer ended, so that work which ends after the window is not claimed for it.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "ctl/bench/histogram.h"
#include "ctl/bench/slo.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

// Nanoseconds from the start of the run. `end_ns` 0: until the last answer.
struct Window {
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;

  bool holds(uint64_t instant_ns) const {
    return instant_ns >= start_ns && (end_ns == 0 || instant_ns < end_ns);
  }
};

struct Refusals {
  uint64_t count = 0;
  Histogram latency;  // from the request's last byte out to its answer in
};

struct ClassTally {
  uint64_t arrived = 0;
  uint64_t within_slo = 0;
  std::array<uint64_t, static_cast<size_t>(End::kCount)> ends{};
  uint64_t good_in_window = 0;         // within the SLO and ended inside the window
  uint64_t good_tokens_in_window = 0;  // completion tokens of those
  uint64_t prompt_tokens = 0;          // of answers, as the server counted them
  uint64_t completion_tokens = 0;
  uint64_t wasted_tokens = 0;  // prompt and answer, of what failed under way or came outside the SLO
  Histogram ttft;  // of answers, full and degraded, from the intended instant of the try that was answered
  Histogram itl;   // between two events with text
  Histogram tpot;
  Histogram e2e;
  Histogram wait;  // from the first try's intended instant to the first token: with the time spent refused
  std::map<std::string, Refusals> refusals;      // by reason; every refused try
  std::map<std::string, uint64_t> degradations;  // by X-Deepserve-Degraded
  std::map<std::string, uint64_t> failures;      // by reason

  uint64_t ended_as(End end) const { return ends[static_cast<size_t>(end)]; }
  uint64_t refused_tries() const;
  void add(const ClassTally& other);
};

// How honest Retry-After is, seen from a client that obeys it.
struct Honesty {
  uint64_t booked = 0;         // refusals that named an instant
  uint64_t ticketed = 0;       // of them, with a ticket
  uint64_t came_back = 0;      // first on-time retries that got an answer of any kind
  uint64_t served = 0;         // of them, taken (answered, at once or in a while)
  uint64_t beyond_run = 0;     // the instant lay after the end of the run: nobody came
  Histogram error;             // of those served: from the booked instant to the status line 200
  uint64_t ticketed_back = 0;  // as came_back and served, of refusals with a ticket
  uint64_t ticketed_served = 0;
  Histogram ticket_error;       // of ticketed_served: from the booked instant to the first text
  Histogram ticket_error_part;  // the same over bound_ns(); a second stands for 1

  // What a ticket's holder may have to wait beyond its instant: a second, or a tenth of the wait it was told.
  static uint64_t bound_ns(uint64_t wait_ns) { return std::max(kSecond_ns, wait_ns / 10); }
};

// How evenly the clients of a class were served who were backlogged: nearly all of the window something of
// theirs had no first token yet, whether it waited at the server or for the instant to come back at. Who has
// all that it asked for is no measure of how the rest is shared.
//
// Service is what VTC's authors count (Sheng et al., "Fairness in serving large language models", OSDI 2024):
// a token of a prompt once, one of an answer twice, of what ended inside the window.
struct Fairness {
  static constexpr double kBacklogged = 0.95;  // of the window
  static constexpr uint64_t kAnswerTokenWeight = 2;

  size_t clients = 0;
  double answers_each = 0;  // on average
  double plain = 0;         // Jain's index over their service: 1 when all got the same, 1/n when one got all
  double weighted = 0;      // over their service by their weights
};

// What ended in one second of the run, warm-up and drain included.
struct Second {
  uint64_t arrived = 0;  // first tries that were due in it
  uint64_t good = 0;
  uint64_t refused_tries = 0;
};

class Tally {
 public:
  // `weights`: of the clients, in turn; empty: all weigh 1.
  Tally(const Slo& slo, Window window, std::vector<double> weights = {});

  bool counts(const Planned& planned) const { return window_.holds(planned.at_ns); }
  // `times` events with text came `gap_ns` after the event before; the rest of them in the same instant.
  void text_events(const Planned& planned, uint64_t gap_ns, uint64_t events);
  void refused(const Planned& planned, const Try& one);
  void ended(const Outcome& outcome);
  // A client wants an answer from `at_ns` on, until its first token is there or it is known to get none.
  void wants(const Planned& planned, uint64_t at_ns);
  void wants_no_more(const Planned& planned, uint64_t at_ns);
  // A request went out so much later than it was meant to; `waited`: for a free connection.
  void sent(const Planned& planned, uint64_t late_ns, bool waited);
  Honesty& honesty() { return honesty_; }

  const ClassTally& of(ServiceClass service_class) const { return classes_[index_of(service_class)]; }
  ClassTally all() const;
  const Honesty& honesty() const { return honesty_; }
  const Histogram& lateness() const { return lateness_; }
  uint64_t waited_for_connection() const { return waited_for_connection_; }
  // Seconds over which goodput is counted.
  double window_s() const;
  // Second by second, as far as something happened: shows how a server settles after a step of the load.
  const std::vector<Second>& seconds() const { return seconds_; }
  // Jain's index over the completion tokens of the clients whose requests were counted: 1 when all got the
  // same, 1/n when one got all. 0: no client got any.
  double jain_index() const;
  size_t clients() const;
  Fairness fairness(ServiceClass service_class) const;
  // Answers within the SLO per second.
  double goodput_per_s() const;
  // Mean TTFT of the answers to what was due in the first and in the second half of the window, in seconds:
  // a backlog that grows shows in the difference. Of a window that has an end.
  std::array<double, 2> ttft_of_halves_s() const;
  // Of what is counted so far, how many missed the SLO.
  uint64_t missed() const { return missed_; }

 private:
  struct ClientShare {
    uint64_t tokens = 0;   // of its answers
    uint64_t service = 0;  // see Fairness
    uint64_t answers = 0;  // that this came with
    uint64_t wanted = 0;   // answers, at present
    uint64_t wants_since_ns = 0;
    uint64_t backlogged_ns = 0;  // of the window, so far
  };

  std::unordered_map<uint32_t, uint64_t> tokens_by_client() const;
  ClientShare& share_of(const Planned& planned);
  Second& second_of(uint64_t instant_ns);

  Slo slo_;
  Window window_;
  PerClass<ClassTally> classes_;
  Honesty honesty_;
  std::array<Histogram, 2> ttft_of_halves_;
  Histogram lateness_;
  std::vector<Second> seconds_;
  std::vector<double> weights_;
  PerClass<std::unordered_map<uint32_t, ClientShare>> clients_;
  uint64_t waited_for_connection_ = 0;
  uint64_t missed_ = 0;
  uint64_t last_end_ns_ = 0;
};

}  // namespace deepserve::ctl::bench
