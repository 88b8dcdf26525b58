// Sends a schedule's requests when they are due, over a bounded number of connections, and tallies what
// becomes of them. One thread, non-blocking.
//
// No coordinated omission (Tene; wrk2): a request that finds no free connection waits here and its latency
// counts from when it was meant to be sent. One that has waited longer than `unsent_after_ns` is never sent
// and is counted as unsent.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "ctl/bench/connection.h"
#include "ctl/bench/request_text.h"
#include "ctl/bench/retry_rule.h"
#include "ctl/bench/tally.h"

namespace deepserve::ctl::bench {

struct GeneratorOptions {
  RequestShape shape;
  uint32_t connections_max = 1;
  uint64_t unsent_after_ns = 0;
  Retries retries = Retries::kObey;
  unsigned tries_max = 5;
  std::vector<double> client_weights;  // in turn; empty: all weigh 1
};

struct Run {
  Window window;          // of what is counted
  uint64_t end_ns = 0;    // no request and no retry starts from here on; 0: while the schedule has some
  uint64_t drain_ns = 0;  // how long answers are waited for after the last start
  uint64_t missed_max = UINT64_MAX;  // ends early once more than so many requests missed the SLO
};

struct RunResult {
  Tally tally;
  bool was_interrupted = false;
  bool was_cut_short = false;   // by missed_max
  bool is_unreachable = false;  // nobody listened, and nothing was answered
  double length_s = 0;
  double cpu_s = 0;  // of this process
};

// What a progress line shows.
struct Moment {
  uint64_t now_ns = 0;  // from the start
  size_t in_flight = 0;
  size_t waiting = 0;  // for a connection
  size_t to_retry = 0;
  const Tally* tally = nullptr;
};

class Generator {
 public:
  // Borrows the endpoint and the poller.
  Generator(const Endpoint& endpoint, Poller& poller, GeneratorOptions options);

  // Until the schedule has ended and all is answered, or the run's limits. `observe` is called about twice a
  // second. Requests that are still open at the end are hung up on.
  RunResult run(Schedule& schedule, const Run& run, const std::function<void(const Moment&)>& observe);

 private:
  struct Request {
    Planned planned;
    unsigned tries = 0;
    Try one;
    std::string ticket;
    bool waited = false;      // found no free connection when it was due
    bool was_booked = false;  // this try comes at an instant that the server named
    bool had_ticket = false;
    uint64_t told_wait_ns = 0;  // from the refusal to that instant
    unsigned bookings = 0;
  };
  struct Retry {
    uint64_t at_ns;
    Request request;
    bool operator>(const Retry& other) const { return at_ns > other.at_ns; }
  };

  uint64_t now_ns() const;
  void take_due();
  void give_up_on_late();
  void send_waiting();
  bool send(Request& request);
  void handle(size_t index);
  void read_times(Connection& connection, Request& request);
  void finish(Connection& connection, Request request);
  void after_refusal(Request request, std::optional<uint64_t> retry_after_ms, std::string ticket);
  void note_comeback(const Request& request);
  void end(const Request& request, End how, uint64_t free_at_ns);
  void tell_end(const Request& request, End how);
  bool is_over() const;
  uint64_t next_wake_ns() const;
  void hang_up();

  const Endpoint& endpoint_;
  Poller& poller_;
  GeneratorOptions options_;
  std::vector<Connection> connections_;
  std::vector<std::optional<Request>> requests_;  // of each connection
  std::vector<size_t> idle_;                      // the most recently used one last
  std::deque<Request> waiting_;                   // due, without a connection
  std::priority_queue<Retry, std::vector<Retry>, std::greater<>> retries_;
  size_t in_flight_ = 0;
  bool is_blocked_ = false;  // the server took no more connections when last asked

  // Of the run under way.
  Schedule* schedule_ = nullptr;
  Run run_;
  uint64_t start_ns_ = 0;
  std::optional<Tally> tally_;
  uint64_t answers_ = 0;
  bool saw_nobody_ = false;
};

}  // namespace deepserve::ctl::bench
