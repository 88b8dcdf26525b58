// A backend that draws by itself, as one on a GPU does: another backend's logits, and the engine's own
// sampler. It may run ahead, too: then nothing is computed before it must be, what a step borrowed is gone by
// then, and what it writes is rubbish until it is over.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "ipc/base/check.h"
#include "runner/backend/backend.h"
#include "runner/engine/sampler.h"

namespace deepserve::runner::testing {

class DrawingBackend final : public Backend {
 public:
  // `inner` must outlive it.
  explicit DrawingBackend(Backend& inner, bool runs_ahead = false) : inner_(inner), info_(inner.info()) {
    info_.draws = true;
    info_.runs_ahead = runs_ahead;
  }

  const BackendInfo& info() const override { return info_; }
  void copy_block(BlockId from, BlockId to) override;
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override;
  Result<void> start(std::span<const BatchEntry> batch, const StepOutputs& outputs) override;
  Result<void> finish() override;
  bool is_over() const override { return queue_.empty() || std::chrono::steady_clock::now() >= over_at(); }
  double device_seconds() const override { return std::chrono::duration<double>(at_work_).count(); }

  uint64_t rows_drawn = 0;
  uint64_t rows_told = 0;  // whose logits were wanted
  // That were started before the one before them was over; from any thread.
  uint64_t steps_ahead() const { return steps_ahead_; }
  size_t under_way() const { return queue_.size(); }
  // Of one that runs ahead: what it takes for a step, one after the other, whoever waits for it.
  std::chrono::microseconds step_time{};

 private:
  void draw(std::span<float> logits, const RowDraw& draw, DrawnRow& row, DrawnToken* tokens);
  static void tell_logprobs(std::span<const float> logits, uint8_t alternatives, DrawnRow& row);

  Backend& inner_;
  BackendInfo info_;
  Sampler sampler_;
  std::vector<float> logits_, largest_, sums_;

  std::atomic<uint64_t> steps_ahead_ = 0;
  struct Queued;  // a step, and the copies of blocks ahead of it
  std::deque<std::shared_ptr<Queued>> queue_;
  std::vector<std::function<void()>> copies_;  // of the next step
  std::vector<TokenId> last_drawn_;            // by the last step
  std::chrono::steady_clock::time_point free_from_{};
  std::chrono::steady_clock::duration at_work_{};
  std::chrono::steady_clock::time_point over_at() const;  // the first of those under way
};

}  // namespace deepserve::runner::testing
