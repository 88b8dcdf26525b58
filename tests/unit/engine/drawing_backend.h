// A backend that draws by itself, as one on a GPU does: another backend's logits, and the engine's own
// sampler.
#pragma once

#include <algorithm>
#include <vector>

#include "ipc/base/check.h"
#include "runner/backend/backend.h"
#include "runner/engine/sampler.h"

namespace deepserve::runner::testing {

class DrawingBackend final : public Backend {
 public:
  // `inner` must outlive it.
  explicit DrawingBackend(Backend& inner) : inner_(inner), info_(inner.info()) { info_.draws = true; }

  const BackendInfo& info() const override { return info_; }
  void copy_block(BlockId from, BlockId to) override { inner_.copy_block(from, to); }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override;

  uint64_t rows_drawn = 0;
  uint64_t rows_told = 0;  // whose logits were wanted

 private:
  void draw(std::span<float> logits, const RowDraw& draw, DrawnRow& row, DrawnToken* tokens);
  static void tell_logprobs(std::span<const float> logits, uint8_t alternatives, DrawnRow& row);

  Backend& inner_;
  BackendInfo info_;
  Sampler sampler_;
  std::vector<float> logits_, largest_, sums_;
};

}  // namespace deepserve::runner::testing
