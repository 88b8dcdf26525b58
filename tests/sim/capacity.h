// What a load of 1 is: the highest rate at which 99 of 100 get their whole answer in time, found by
// bisection.
#pragma once

#include "tests/sim/simulation.h"

namespace deepserve::sim {

// Requests a second, of the usual mix, Poisson, nobody coming back, under the policy of `options`; a mean
// over `seeds` seeds from options.seed on. Demand and capacity of `options` are not looked at.
double find_capacity(const SimulationOptions& options, uint32_t seeds);

}  // namespace deepserve::sim
