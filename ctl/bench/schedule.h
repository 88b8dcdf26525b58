// Which request is to be sent when: open loops from rates or a trace, and a closed loop of clients. Pure.
//
// All instants are nanoseconds from the start of the run.
#pragma once

#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <vector>

#include "ctl/bench/arrivals.h"
#include "ctl/bench/class_mix.h"
#include "ctl/bench/lengths.h"
#include "ctl/bench/trace_file.h"

namespace deepserve::ctl::bench {

struct Planned {
  uint64_t at_ns = 0;  // when it is meant to be sent: every latency counts from here
  ServiceClass service_class = ServiceClass::kNormal;
  uint32_t client = 0;
  uint32_t prompt_tokens = 1;
  uint32_t max_tokens = 1;
  uint64_t text_seed = 0;  // makes the prompt's text
};

// What requests look like, whenever they come.
struct Workload {
  Lengths prompt;
  Lengths output;
  uint32_t clients = 1;
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  // When the next request is due; nothing when none is left, or (closed loop) until one ends.
  virtual std::optional<uint64_t> next_at_ns() const = 0;
  // That request. Only where next_at_ns has a value.
  virtual Planned take() = 0;
  // One of its requests has come to its end, and its client may ask again from `free_at_ns` on.
  virtual void ended(const Planned&, uint64_t /*free_at_ns*/) {}
};

// Independent processes, one a class: each class keeps its own burstiness, and at one rate it asks for the
// same things at the same instants whatever the others do, so that what they do to it can be told. Ends at
// `end_ns`.
class RateSchedule : public Schedule {
 public:
  RateSchedule(const PerClass<double>& rates_per_s, double gap_cv, const Workload& workload, uint64_t end_ns,
               uint64_t seed);
  std::optional<uint64_t> next_at_ns() const override;
  Planned take() override;

 private:
  struct Stream {
    ServiceClass service_class;
    Arrivals arrivals;
    std::mt19937_64 requests;
    uint64_t next_ns;
  };

  std::vector<Stream>::const_iterator earliest() const;

  std::vector<Stream> streams_;
  Workload workload_;
  uint64_t end_ns_;
};

// A recorded load, up to `end_ns`.
class TraceSchedule : public Schedule {
 public:
  // `rows` by their time; they must outlive the schedule.
  TraceSchedule(const std::vector<TraceRow>& rows, uint32_t clients, uint64_t end_ns, uint64_t seed);
  std::optional<uint64_t> next_at_ns() const override;
  Planned take() override;

 private:
  const std::vector<TraceRow>& rows_;
  size_t next_ = 0;
  uint32_t clients_;
  uint64_t end_ns_;
  std::mt19937_64 generator_;
};

// `workload.clients` clients, each with one request at a time and the next one as soon as it is free. Client
// i keeps one class. This is a closed loop: a slow server is asked less often.
class ClosedSchedule : public Schedule {
 public:
  ClosedSchedule(const ClassMix& mix, const Workload& workload, uint64_t end_ns, uint64_t seed);
  std::optional<uint64_t> next_at_ns() const override;
  Planned take() override;
  void ended(const Planned& planned, uint64_t free_at_ns) override;

 private:
  struct Free {
    uint64_t at_ns;
    uint32_t client;
    bool operator>(const Free& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : client > other.client;
    }
  };

  ClassMix mix_;
  Workload workload_;
  std::priority_queue<Free, std::vector<Free>, std::greater<>> free_;
  std::mt19937_64 generator_;
  uint64_t end_ns_;
};

}  // namespace deepserve::ctl::bench
