// Speculation through the engine: it changes how many steps an answer takes, and nothing else.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/engine/campaign_seeds.h"
#include "tests/unit/engine/fakes.h"
#include "tests/unit/engine/same_logprobs.h"

namespace deepserve::runner::testing {
namespace {

// Logits out of a hash of the last two tokens alone: what it says comes round again and again.
Model forgetful_model(float eos_bias) {
  return [eos_bias](std::span<const TokenId> history, std::span<float> logits) {
    const auto end = history.last(std::min<size_t>(2, history.size()));
    hashing_model(eos_bias)(end, logits);
  };
}

EngineOptions speculating(Speculation speculation) {
  EngineOptions options;
  options.speculation = speculation;
  return options;
}

ipc::Submit endless_request(uint32_t tokens_max) {
  auto request = token_request(1, letters("abc"), tokens_max);
  request.generation.ignore_eos = true;
  return request;
}

TEST(Speculation, TakesFewerStepsAndSaysTheSame) {
  Bench without(forgetful_model(-100), {}, speculating(Speculation::kOff));
  Bench with(forgetful_model(-100), {}, speculating(Speculation::kAlways));
  const auto& plain = without.submit_and_run(endless_request(200));
  const auto& drafted = with.submit_and_run(endless_request(200));
  EXPECT_EQ(drafted.choices.at(0).tokens, plain.choices.at(0).tokens);
  EXPECT_EQ(without.backend.steps, 200u);
  EXPECT_LT(with.backend.steps, 100u);
  EXPECT_EQ(plain.last.usage.drafts_accepted, 0u);
  const auto& usage = drafted.last.usage;
  EXPECT_EQ(usage.completion_tokens, 200u);
  EXPECT_EQ(usage.drafts_accepted + with.backend.steps, 200u);  // each step adds one that is not drafted
  const auto gauges = with.engine->gauges();
  EXPECT_EQ(gauges.draft_tokens_accepted_total, usage.drafts_accepted);
  EXPECT_EQ(gauges.draft_tokens_total, usage.drafts_accepted + usage.drafts_rejected);
}

TEST(Speculation, NeverRunsPastTheLastTokenOrTheStepsTokens) {
  EngineOptions options = speculating(Speculation::kAlways);
  options.step_tokens_max = 6;
  std::vector<TokenId> loop;
  while (loop.size() < 40) loop.push_back(letter("xyz"[loop.size() % 3]));
  Bench bench(reciting_model(3, loop), {.blocks = 8, .block_tokens = 4}, options);
  const auto& told = bench.submit_and_run(endless_request(29));  // with its prompt: all 32 places
  EXPECT_EQ(told.choices.at(0).tokens.size(), 29u);
  EXPECT_GT(told.last.usage.drafts_accepted, 0u);
}

TEST(Speculation, StepsThatPrefillRunNoDrafts) {
  EngineOptions options = speculating(Speculation::kAlways);
  options.step_tokens_max = 8;
  Bench bench(forgetful_model(-100), {.block_tokens = 4}, options);
  bench.engine->submit(endless_request(100));
  for (int step = 0; step < 12; ++step) ASSERT_TRUE(bench.engine->step());
  auto other = token_request(2, std::vector<TokenId>(40, letter('x')), 1);
  bench.engine->submit(other);
  while (!bench.sink[2].finished) {
    ASSERT_TRUE(bench.engine->step());
    if (bench.backend.last_step.size() < 2) continue;
    EXPECT_EQ(bench.backend.last_step[0].tokens, 1u);
  }
}

TEST(Speculation, ByItselfItDraftsWhereRowsAreFreeAndNotWhereTheyCost) {
  Bench costly(forgetful_model(-100), {}, speculating(Speculation::kAuto));
  costly.backend.token_time = std::chrono::microseconds(1000);
  costly.submit_and_run(endless_request(60));
  EXPECT_LT(costly.backend.tokens_run, 63 + 60u);  // some tries
  Bench cheap(forgetful_model(-100), {}, speculating(Speculation::kAuto));
  cheap.backend.step_time = std::chrono::microseconds(1000);
  const auto& told = cheap.submit_and_run(endless_request(200));
  EXPECT_GT(told.last.usage.drafts_accepted, 100u);
}

struct Traffic {
  explicit Traffic(uint64_t seed) : random(seed) {}

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random() % bound); }

  ipc::Submit request(ipc::RequestId id) {
    std::vector<TokenId> prompt(1 + below(30));
    for (auto& token : prompt) token = 2 + below(below(2) == 0 ? 4 : kPoison - 2);
    auto submit = token_request(id, std::move(prompt), 1 + below(60));
    submit.service_class = static_cast<ipc::Class>(below(3));
    auto& generation = submit.generation;
    generation.temperature = below(3) == 0 ? 0.4f : 0.0f;
    generation.seed = random();
    generation.choices = static_cast<uint16_t>(below(3) == 0 ? 1 + below(4) : 1);
    if (below(5) == 0) generation.top_p = 0.9f;
    if (below(4) == 0) generation.repetition_penalty = 1.02f;
    if (below(4) == 0) generation.frequency_penalty = 0.05f;
    if (below(4) == 0) generation.logit_bias = {{letter('q'), 0.5f}};
    if (below(4) == 0) generation.tokens_min = below(20);
    if (below(4) == 0) generation.stop = {"ab", "eq"};
    if (below(4) == 0) generation.stop_tokens = {letter('e')};
    if (below(3) == 0) generation.logprobs = static_cast<uint8_t>(below(4));
    if (below(3) == 0) generation.echo = true;
    generation.ignore_eos = below(2) == 0;
    if (below(4) == 0)
      generation.constraint = {ipc::ConstraintKind::kGrammar, "root ::= ([a-m] [a-z]){4,20}"};
    if (below(6) == 0) resume(submit);
    return submit;
  }

  // As if a part of its answers had come from elsewhere.
  void resume(ipc::Submit& submit) {
    Bench before(forgetful_model(-3), {}, speculating(Speculation::kOff));
    const auto& told = before.submit_and_run(submit);
    if (!told.finished) return;
    for (const auto& [number, choice] : told.choices) {
      const auto size = static_cast<ptrdiff_t>(below(static_cast<uint32_t>(choice.tokens.size()) + 1));
      if (size > 0) submit.resumed.push_back({number, {choice.tokens.begin(), choice.tokens.begin() + size}});
    }
  }

  std::mt19937_64 random;
};

void expect_same(const Told& drafted, const Told& plain, ipc::RequestId id) {
  SCOPED_TRACE(::testing::Message() << "request " << id);
  ASSERT_EQ(drafted.terminal_outcomes, 1u);
  ASSERT_EQ(drafted.failed, plain.failed) << drafted.failure.message << plain.failure.message;
  EXPECT_EQ(drafted.failure.message, plain.failure.message);
  ASSERT_EQ(drafted.choices.size(), plain.choices.size());
  for (const auto& [number, choice] : plain.choices) {
    const auto& other = drafted.choices.at(number);
    EXPECT_EQ(other.first_index, choice.first_index);
    if (plain.failed) continue;  // how far the other choices came is a matter of steps
    EXPECT_EQ(other.tokens, choice.tokens) << "choice " << number;
    EXPECT_EQ(other.text, choice.text);
    EXPECT_EQ(other.reason, choice.reason);
    EXPECT_EQ(other.echo_text(), choice.echo_text());
    expect_same_logprobs(other.logprobs, choice.logprobs);
    expect_same_logprobs(other.echo_logprobs, choice.echo_logprobs);
  }
  EXPECT_EQ(drafted.last.usage.completion_tokens, plain.last.usage.completion_tokens);
}

// Adds what was accepted to `accepted`.
void run_campaign(uint64_t seed, uint64_t& accepted) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Traffic traffic(seed);
  const FakeBackend::Shape shape{.blocks = 40 + traffic.below(60), .block_tokens = 1 + traffic.below(8)};
  const uint32_t pool_tokens = shape.blocks * shape.block_tokens;
  EngineOptions options = speculating(traffic.below(4) == 0 ? Speculation::kAuto : Speculation::kAlways);
  options.sequences_max = 1 + traffic.below(8);
  options.step_tokens_max = 8 + traffic.below(40);
  Bench crowd(forgetful_model(-3), shape, options);
  std::vector<ipc::Submit> submitted;
  std::set<ipc::RequestId> cancelled;
  for (ipc::RequestId id = 1; id <= 30; ++id) {
    auto request = traffic.request(id);
    request.prompt.tokens.resize(std::min<size_t>(request.prompt.tokens.size(), pool_tokens / 3));
    if (pool_tokens < 100) request.generation.tokens_max = 1, request.resumed.clear();
    crowd.engine->submit(request);
    submitted.push_back(std::move(request));
    if (traffic.below(10) == 0) {
      const ipc::RequestId victim = 1 + traffic.below(static_cast<uint32_t>(id));
      if (!crowd.sink[victim].finished) cancelled.insert(victim);
      crowd.engine->cancel(victim);
    }
    for (uint32_t steps = traffic.below(12); steps > 0; --steps) ASSERT_TRUE(crowd.engine->step());
  }
  crowd.run();
  EXPECT_EQ(crowd.engine->gauges().kv_blocks_free, crowd.engine->gauges().kv_blocks_total);
  accepted += crowd.engine->gauges().draft_tokens_accepted_total;
  for (const auto& request : submitted) {
    if (cancelled.contains(request.request)) continue;
    Bench single(forgetful_model(-3), {.blocks = 256}, speculating(Speculation::kOff));
    expect_same(crowd.sink[request.request], single.submit_and_run(request), request.request);
  }
}

TEST(Speculation, InRandomTrafficChangesNothingThatIsTold) {
  uint64_t accepted = 0;
  for (uint64_t seed = 1; seed <= campaign_seeds(60); ++seed) run_campaign(seed, accepted);
  EXPECT_GT(accepted, campaign_seeds(60) * 20);
}

}  // namespace
}  // namespace deepserve::runner::testing
