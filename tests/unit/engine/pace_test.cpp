// The scheduler and what it learns of a device, in virtual time: what a long prompt does to those who decode
// beside it, and they to it, whatever the device is good at.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>

#include "runner/engine/scheduler.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kLongPrompt = 4096;

// How long a step takes: reading the weights or computing with them, whichever is longer, and attention.
struct Device {
  std::string name;
  double read_seconds;
  double token_seconds;
  double pair_seconds;

  double seconds(const StepPlan& plan) const {
    const double tokens = plan.decodes + plan.prefill_tokens;
    const double pairs = static_cast<double>(plan.context_tokens) + plan.prefill_pairs;
    return std::max(read_seconds, tokens * token_seconds) + pairs * pair_seconds + 1e-4;
  }
};

class Pace {
 public:
  explicit Pace(const Device& device)
      : device_(device),
        budget_({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1000),
        scheduler_({.sequences_max = 64, .step_tokens_max = 512}, 4096, 16) {}

  Sequence& add(uint32_t tokens) {
    sequences_.push_back(Sequence{.request = nullptr,
                                  .priority = {ipc::Class::kNormal, 0, arrivals_++, 0},
                                  .tokens = std::vector<TokenId>(tokens, 5),
                                  .blocks = {},
                                  .salt = {},
                                  .counts = TokenCounts(generation_, {}),
                                  .continuation = Continuation(tokenizer_, generation_, 10'000, false)});
    scheduler_.add(sequences_.back());
    return sequences_.back();
  }
  void remove(Sequence& sequence) { scheduler_.remove(sequence); }
  // The step's seconds.
  double step() {
    scheduler_.plan(budget_, plan_);
    const double seconds = device_.seconds(plan_) * noise_(random_);
    budget_.add_step(
        {plan_.decodes, plan_.context_tokens, plan_.prefill_tokens, plan_.prefill_pairs, seconds});
    for (const auto& chunk : plan_.chunks) {
      chunk.sequence->computed += chunk.tokens;
      if (chunk.sequence->pending() == 0) chunk.sequence->tokens.push_back(6);
    }
    return seconds;
  }
  // The seconds of all steps until `sequence` has its first token.
  std::vector<double> until_first_token(const Sequence& sequence) {
    const uint32_t size = sequence.size();
    std::vector<double> steps;
    while (sequence.size() == size) steps.push_back(step());
    return steps;
  }

 private:
  const Device& device_;
  StepBudget budget_;
  Scheduler scheduler_;
  testing::FakeTokenizer tokenizer_;
  ipc::Generation generation_;
  std::deque<Sequence> sequences_;
  StepPlan plan_;
  uint64_t arrivals_ = 0;
  std::mt19937 random_{1};
  std::uniform_real_distribution<double> noise_{0.97, 1.05};
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

double p99(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, values.size() * 99 / 100)];
}

const Device kDevices[] = {
    {"computes fast", 0.008, 1e-4, 5e-8},          {"computes slowly", 0.008, 1e-3, 5e-8},
    {"bound by computing", 0.0005, 1e-3, 1e-7},    {"dear attention", 0.003, 2e-4, 2e-7},
    {"slow to read", 0.060, 2e-3, 1e-7},           {"slow at everything", 0.060, 8e-3, 1e-6},
    {"cheap but for attention", 0.001, 5e-5, 2e-7}};

// A prompt alone, then beside `decodes` that had their own pace before and after it.
void expect_fair_pace(const Device& device, uint32_t decodes) {
  Pace pace(device);
  auto& alone = pace.add(kLongPrompt);
  const double alone_seconds = sum(pace.until_first_token(alone));
  pace.remove(alone);
  std::deque<Sequence*> decoding;
  for (uint32_t i = 0; i < decodes; ++i) decoding.push_back(&pace.add(64));
  for (const auto* sequence : decoding) {
    if (sequence->size() == 64) pace.until_first_token(*sequence);
  }
  std::vector<double> quiet;
  for (int step = 0; step < 200; ++step) quiet.push_back(pace.step());
  auto& beside = pace.add(kLongPrompt);
  const auto busy = pace.until_first_token(beside);
  pace.remove(beside);
  for (int step = 0; step < 200; ++step) quiet.push_back(pace.step());  // their contexts have grown
  const double gap_ratio = p99(busy) / p99(quiet);
  const double first_ratio = sum(busy) / alone_seconds;
  EXPECT_LE(gap_ratio, 2.0) << "steps of " << p99(quiet) * 1e3 << " ms";
  EXPECT_LE(first_ratio, 2.5) << "alone " << alone_seconds << " s";
}

TEST(Pace, ALongPromptHalvesTheOthersPaceAtMostAndTakesTwoAndAHalfTimesAsLongAtMost) {
  for (const Device& device : kDevices) {
    for (const uint32_t decodes : {1, 4, 16, 48}) {
      SCOPED_TRACE(device.name + " beside " + std::to_string(decodes));
      expect_fair_pace(device, decodes);
    }
  }
}

}  // namespace
}  // namespace deepserve::runner
