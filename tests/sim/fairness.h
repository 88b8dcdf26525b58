// How evenly clients of one class were served who all asked for more than their part.
//
// Sources: Jain, Chiu and Hawe, "A quantitative measure of fairness", 1984; Sheng et al., "Fairness in
// serving large language models" (the virtual token counter), OSDI 2024: whatever two clients have waiting,
// the service that they got over any time differs by at most 2 max(w_p L_input, w_q M).
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/simulation.h"

namespace deepserve::sim {

// Work by weight of each client of stream 0, of what ended in [from, to) seconds.
std::vector<double> service_by_client(const SimulationOptions& options, const SimulationResult& result,
                                      double from_seconds, double to_seconds);

// 1: all alike; 1/n: one of n has it all.
double jain_index(const std::vector<double>& service);

// The most by which the service of two of stream 0's clients drifted apart over any time after the warm-up,
// over the bound above. Work counts when its attempt ends.
double vtc_drift(const SimulationOptions& options, const SimulationResult& result, double warmup_seconds);

}  // namespace deepserve::sim
