// Thousands of steps over a pool that is far too small for what is asked of it: the blocks add up in each of
// them, everything ends, and nobody waits for ever.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/engine/campaign_seeds.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::Class;

constexpr uint64_t kSteps = 6000;
constexpr uint32_t kStepTokens = 24;
constexpr std::array<uint32_t, 3> kOutstandingMax = {1, 8, 4};  // of each class

// Keeps as many requests of each class in an engine as there may be, and counts how many steps each waits for
// its first token.
class ClosedLoop {
 public:
  explicit ClosedLoop(uint64_t seed)
      : random_(seed),
        bench_(hashing_model(-3), {.blocks = 30, .block_tokens = 4},
               {.sequences_max = 10, .step_tokens_max = kStepTokens}) {}

  void run() {
    for (step_ = 0; step_ < kSteps; ++step_) {
      for (size_t i = 0; i < kOutstandingMax.size(); ++i) fill(static_cast<Class>(i));
      if (below(50) == 0) cancel_one();
      ASSERT_TRUE(bench_.engine->step());  // checks the accounting of blocks
      const auto gauges = bench_.engine->gauges();
      ASSERT_LE(gauges.kv_blocks_free, gauges.kv_blocks_total);
      take_stock();
    }
    bench_.run();
    EXPECT_EQ(bench_.engine->gauges().kv_blocks_free, bench_.engine->gauges().kv_blocks_total);
    for (const auto& [id, told] : bench_.sink.told) ASSERT_EQ(told.terminal_outcomes, 1u) << id;
    EXPECT_GT(bench_.engine->gauges().preemptions_total, 50u);
  }
  uint64_t longest_wait(Class service_class) const { return waits_[static_cast<size_t>(service_class)]; }
  uint64_t finished(Class service_class) const { return finished_[static_cast<size_t>(service_class)]; }

 private:
  struct Open {
    ipc::RequestId id;
    Class service_class;
    uint64_t submitted_step;
    uint32_t prompt_tokens;
    bool begun = false;
  };

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  void fill(Class service_class) {
    const auto index = static_cast<size_t>(service_class);
    const auto open = std::ranges::count(open_, service_class, &Open::service_class);
    if (open >= kOutstandingMax[index] || (service_class == Class::kVip && below(12) != 0)) return;
    const bool large = below(4) == 0;
    std::vector<TokenId> prompt((large ? 40 : 1) + below(20));
    for (auto& token : prompt) token = 2 + below(below(2) == 0 ? 2 : 26);
    const auto prompt_tokens = static_cast<uint32_t>(prompt.size());
    auto request = token_request(++next_, std::move(prompt), 1 + below(50));
    request.service_class = service_class;
    request.generation.temperature = 1;
    request.generation.seed = random_();
    if (service_class != Class::kVip && below(4) == 0) request.generation.choices = 4;
    bench_.engine->submit(request);
    open_.push_back({next_, service_class, step_, prompt_tokens});
  }

  void cancel_one() {
    if (open_.empty()) return;
    bench_.engine->cancel(open_[below(static_cast<uint32_t>(open_.size()))].id);
  }

  void take_stock() {
    for (auto& open : open_) {
      const Told& told = bench_.sink[open.id];
      const auto first = told.choices.find(0);
      const uint64_t waited = step_ + 1 - open.submitted_step;
      if (open.service_class == Class::kVip) expect_vip_pace(open, told, waited);
      const bool begun = first != told.choices.end() && !first->second.tokens.empty();
      if (begun || open.begun) {
        open.begun = true;
      } else if (told.terminal_outcomes == 0) {
        auto& longest = waits_[static_cast<size_t>(open.service_class)];
        longest = std::max(longest, waited);
      }
      if (told.finished) ++finished_[static_cast<size_t>(open.service_class)];
    }
    std::erase_if(open_, [&](const Open& open) { return bench_.sink[open.id].terminal_outcomes > 0; });
  }

  // There is one at a time: it runs from the step after it came, and each step is its own but for what those
  // who were passed over for long take of it.
  void expect_vip_pace(const Open& open, const Told& told, uint64_t waited) {
    if (told.terminal_outcomes > 0) return;
    EXPECT_TRUE(told.accepted) << open.id;
    const uint64_t alone = (open.prompt_tokens + kStepTokens - 1) / kStepTokens;
    const auto first = told.choices.find(0);
    const bool begun = first != told.choices.end() && !first->second.tokens.empty();
    if (waited > alone + 1) {
      EXPECT_TRUE(begun) << "request " << open.id << " after " << waited;
    }
  }

  std::mt19937_64 random_;
  Bench bench_;
  std::vector<Open> open_;
  ipc::RequestId next_ = 0;
  uint64_t step_ = 0;
  std::array<uint64_t, 3> waits_{};
  std::array<uint64_t, 3> finished_{};
};

TEST(Pressure, NobodyStarvesAndAVipWaitsForOneStep) {
  for (uint64_t seed = 1; seed <= campaign_seeds(4); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    ClosedLoop loop(seed);
    loop.run();
    // Seven others of up to 4 x 50 tokens, of which two or more run at once, and promoted batch work.
    EXPECT_LE(loop.longest_wait(Class::kNormal), 1000u);
    EXPECT_LE(loop.longest_wait(Class::kBatch), 2000u);
    for (const auto service_class : {Class::kVip, Class::kNormal, Class::kBatch}) {
      EXPECT_GE(loop.finished(service_class), 4u);
    }
  }
}

}  // namespace
}  // namespace deepserve::runner::testing
