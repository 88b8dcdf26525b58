// When a stream's asks come, and what each of them is.
#pragma once

#include <cstdint>
#include <optional>

#include "tests/sim/demand.h"
#include "tests/sim/random.h"
#include "tests/sim/runner_shape.h"
#include "tests/sim/simulation.h"

namespace deepserve::sim {

// Gaps are drawn at a rate of one and stretched by the rate of the time in which they lie, so that a step in
// the load keeps its kind of arrivals. Draws do not depend on what becomes of earlier asks.
class Arrivals {
 public:
  // `options` must outlive it.
  Arrivals(const SimulationOptions& options, uint32_t stream);

  // The instant of the next ask; none when the run is over by then.
  std::optional<uint64_t> next_ns();
  Ask draw();

 private:
  // Asks a second from `seconds_` on, and until when.
  double rate(double& until_seconds) const;

  const SimulationOptions& options_;
  const Stream& stream_;
  const uint32_t index_;
  Random gaps_;
  Random asks_;
  double shares_ = 0;
  double seconds_ = 0;
};

}  // namespace deepserve::sim
