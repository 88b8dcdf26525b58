// How much of the time that a whole engine takes for many requests at once the GPU works.
#pragma once

#include <vector>

#include "tests/gpu/bench/figures.h"
#include "tests/gpu/bench/random_model.h"

namespace deepserve::runner {

struct EngineCase {
  uint32_t requests;
  uint32_t prompt_tokens, answer_tokens;  // of each
  uint32_t step_tokens_max;
  bool run_ahead = true;  // EngineOptions
};

// All requests come at once and are answered `runs` times over, deterministically as dsd's runners do.
Result<void> time_engine(const ModelShape& shape, const EngineCase& one, uint32_t runs,
                         std::vector<Figure>& figures);

}  // namespace deepserve::runner
