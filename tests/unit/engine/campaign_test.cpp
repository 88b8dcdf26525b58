// Random traffic over a pool that is too small for it: every request's tokens are those of a run of it alone.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/engine/campaign_seeds.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

struct Traffic {
  explicit Traffic(uint64_t seed) : random(seed) {}

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random() % bound); }

  ipc::Submit request(ipc::RequestId id) {
    std::vector<TokenId> prompt(1 + below(40));
    for (auto& token : prompt) token = 2 + below(kPoison - 2);
    auto submit = token_request(id, std::move(prompt), 1 + below(40));
    submit.service_class = static_cast<ipc::Class>(below(3));
    auto& generation = submit.generation;
    generation.temperature = below(2) == 0 ? 0.0f : 0.7f;
    generation.seed = random();
    generation.choices = static_cast<uint16_t>(below(3) == 0 ? 1 + below(4) : 1);
    if (below(3) == 0) generation.top_k = 1 + below(20);
    if (below(3) == 0) generation.top_p = 0.5f + 0.01f * static_cast<float>(below(50));
    if (below(4) == 0) generation.repetition_penalty = 1.2f;
    if (below(4) == 0) generation.tokens_min = below(10);
    if (below(4) == 0) generation.stop = {"ab", "e"};
    if (below(3) == 0) generation.logprobs = static_cast<uint8_t>(below(4));
    if (below(3) == 0) generation.echo = true;
    if (generation.echo && below(4) == 0) generation.tokens_max = 0;
    if (below(8) == 0) submit.work = ipc::Work::kEmbed;
    return submit;
  }

  std::mt19937_64 random;
};

using Logprobs = std::vector<std::vector<ipc::TokenLogprob>>;

void expect_same_logprobs(const Logprobs& left, const Logprobs& right) {
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    ASSERT_EQ(left[i].size(), right[i].size());
    for (size_t j = 0; j < left[i].size(); ++j) {
      EXPECT_EQ(left[i][j].token, right[i][j].token);
      EXPECT_EQ(left[i][j].logprob, right[i][j].logprob);
    }
  }
}

void expect_same(const Told& crowd, const Told& alone, ipc::RequestId id) {
  ASSERT_TRUE(crowd.finished) << id << " " << crowd.failure.message;
  ASSERT_EQ(crowd.choices.size(), alone.choices.size());
  for (const auto& [number, choice] : alone.choices) {
    EXPECT_EQ(crowd.choices.at(number).tokens, choice.tokens) << "request " << id << " choice " << number;
    EXPECT_EQ(crowd.choices.at(number).text, choice.text);
    EXPECT_EQ(crowd.choices.at(number).reason, choice.reason);
    EXPECT_EQ(crowd.choices.at(number).echo_tokens, choice.echo_tokens);
    EXPECT_EQ(crowd.choices.at(number).echo_text(), choice.echo_text());
    expect_same_logprobs(crowd.choices.at(number).echo_logprobs, choice.echo_logprobs);
    expect_same_logprobs(crowd.choices.at(number).logprobs, choice.logprobs);
  }
  EXPECT_EQ(crowd.embedding, alone.embedding) << id;
}

void run_campaign(uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Traffic traffic(seed);
  const FakeBackend::Shape shape{.blocks = 24 + traffic.below(30), .block_tokens = 1 + traffic.below(8)};
  const uint32_t pool_tokens = shape.blocks * shape.block_tokens;
  Bench bench(hashing_model(), shape,
              {.sequences_max = 1 + traffic.below(8),
               .step_tokens_max = 8 + traffic.below(40),
               .prefill_seconds_max = traffic.below(2) == 0 ? 0 : 1e-9});  // as little as there can be
  std::vector<ipc::Submit> submitted;
  std::set<ipc::RequestId> cancelled;
  for (ipc::RequestId id = 1; id <= 40; ++id) {
    auto request = traffic.request(id);
    request.prompt.tokens.resize(std::min<size_t>(request.prompt.tokens.size(), pool_tokens / 2));
    request.generation.tokens_max = std::min(request.generation.tokens_max, pool_tokens / 2);
    bench.engine->submit(request);
    submitted.push_back(std::move(request));
    if (traffic.below(8) == 0) {
      const ipc::RequestId victim = 1 + traffic.below(static_cast<uint32_t>(id));
      if (!bench.sink[victim].finished) cancelled.insert(victim);
      bench.engine->cancel(victim);
    }
    for (uint32_t steps = traffic.below(12); steps > 0; --steps) ASSERT_TRUE(bench.engine->step());
  }
  bench.run();
  const auto gauges = bench.engine->gauges();
  EXPECT_EQ(gauges.kv_blocks_free, gauges.kv_blocks_total);
  for (const auto& request : submitted) {
    EXPECT_EQ(bench.sink[request.request].terminal_outcomes, 1u);
    if (cancelled.contains(request.request)) continue;
    Bench single(hashing_model());
    expect_same(bench.sink[request.request], single.submit_and_run(request), request.request);
  }
}

TEST(Campaign, RandomTrafficGivesEachRequestWhatItWouldGetAlone) {
  for (uint64_t seed = 1; seed <= campaign_seeds(60); ++seed) run_campaign(seed);
}

}  // namespace
}  // namespace deepserve::runner::testing
