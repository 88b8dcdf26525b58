// The part of a direction's memory that tells without messages: gauges (seqlock), progress, cause of death.
#pragma once

#include "ipc/lane/gauges.h"
#include "ipc/lane/layout.h"

namespace deepserve::ipc {

// The writing end. One per direction and process.
class GaugesWriter {
 public:
  // Heals what a predecessor left half-written and clears its cause of death.
  explicit GaugesWriter(GaugesMemory& memory);

  void publish(const Gauges& gauges);
  void count_step() { add(memory_.steps, 1); }
  void set_bytes_loaded(uint64_t bytes) { memory_.bytes_loaded.store(bytes, std::memory_order_relaxed); }
  // Async-signal-safe. The first cause stays: a CHECK that says why is followed by the SIGABRT that does not.
  void record_death(const DeathCause& cause) noexcept;

 private:
  static void add(std::atomic<uint64_t>& counter, uint64_t count) {
    counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);  // one writer
  }

  GaugesMemory& memory_;
};

// The reading end; keeps its last consistent copy.
class GaugesReader {
 public:
  explicit GaugesReader(const GaugesMemory& memory) : memory_(memory) {}

  // Retries a bounded number of times, then answers with the copy it had: a dead writer must not hang its
  // reader.
  Gauges read() const;
  Progress progress() const;
  DeathCause death_cause() const;

 private:
  const GaugesMemory& memory_;
  mutable Gauges last_;
};

}  // namespace deepserve::ipc
