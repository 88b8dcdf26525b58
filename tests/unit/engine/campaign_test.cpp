// Random traffic over a pool that is too small for it, prompts that begin alike, requests that are cancelled,
// runners that die and others that go on: every request's tokens and logprobs are those of a run of it alone.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/engine/campaign_seeds.h"
#include "tests/unit/engine/fakes.h"
#include "tests/unit/engine/same_logprobs.h"

namespace deepserve::runner::testing {
namespace {

// `plain`: of requests that want nothing but tokens.
struct Traffic {
  explicit Traffic(uint64_t seed, bool plain = false) : random(seed), is_plain(plain) {}

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random() % bound); }

  ipc::Submit request(ipc::RequestId id) {
    std::vector<TokenId> prompt(1 + below(40));
    for (auto& token : prompt) token = 2 + below(kPoison - 2);
    // Half of them begin as others do, for a length of their own.
    if (below(2) == 0) {
      const uint32_t family = below(3);
      const size_t shared = below(static_cast<uint32_t>(prompt.size()) + 1);
      for (size_t i = 0; i < shared; ++i) prompt[i] = 2 + static_cast<TokenId>((family * 11 + i * 5) % 26);
    }
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
    submit.prefix_salt.low = below(4) == 0 ? 1 : 0;
    if (is_plain) {
      generation.repetition_penalty = 1;
      generation.echo = false;
      generation.tokens_max = std::max(1u, generation.tokens_max);
      submit.work = ipc::Work::kGenerate;
    }
    return submit;
  }

  std::mt19937_64 random;
  const bool is_plain;
};

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

// What was told before and after the death of a runner, as dsd joins it: tokens go on at the next index; of a
// prompt whose choice had no token yet everything is told again.
Told joined(const Told& before, const Told& after) {
  Told whole = after;
  if (whole.embedding.empty()) whole.embedding = before.embedding;
  for (const auto& [number, old] : before.choices) {
    auto& choice = whole.choices[number];
    choice.tokens.insert(choice.tokens.begin(), old.tokens.begin(), old.tokens.end());
    choice.logprobs.insert(choice.logprobs.begin(), old.logprobs.begin(), old.logprobs.end());
    choice.text = old.text + choice.text;
    if (!choice.echo_tokens.empty()) continue;
    choice.echo_tokens = old.echo_tokens;
    choice.echo_texts = old.echo_texts;
    choice.echo_logprobs = old.echo_logprobs;
  }
  return whole;
}

// An engine under traffic, and the one that takes over when it dies.
class Crowd {
 public:
  explicit Crowd(Traffic& traffic, Device device)
      : traffic_(traffic), device_(device), tokens_max_(12 + traffic.below(60)) {
    start();
  }

  uint32_t tokens_max() const { return tokens_max_; }
  void submit(ipc::Submit request) {
    bench_->engine->submit(request);
    submitted_.push_back(std::move(request));
  }
  void cancel(ipc::RequestId id) {
    if (!told(id).finished) cancelled_.insert(id);
    bench_->engine->cancel(id);
  }
  void step() { CHECK(bench_->engine->step().has_value()); }
  void run() {
    bench_->run();
    const auto gauges = bench_->engine->gauges();
    EXPECT_EQ(gauges.kv_blocks_free, gauges.kv_blocks_total);
  }
  // What is left goes on in another engine, of other sizes.
  void die() {
    for (const auto& request : submitted_) told_[request.request] = told(request.request);
    start();
    for (auto request : submitted_) {
      if (told_[request.request].terminal_outcomes > 0) continue;
      for (const auto& [number, choice] : told_[request.request].choices) {
        if (!choice.tokens.empty()) request.resumed.push_back({number, choice.tokens});
      }
      bench_->engine->submit(request);
    }
  }
  Told told(ipc::RequestId id) {
    const auto before = told_.find(id);
    if (before == told_.end()) return bench_->sink[id];
    if (before->second.terminal_outcomes > 0) return before->second;
    return joined(before->second, bench_->sink[id]);
  }
  uint64_t steps_ahead() const { return steps_ahead_ + bench_->drawing.steps_ahead(); }
  void expect_what_each_gets_alone() {
    for (const auto& request : submitted_) {
      const Told whole = told(request.request);
      EXPECT_EQ(whole.terminal_outcomes, 1u);
      if (cancelled_.contains(request.request)) continue;
      Bench single(hashing_model(), {}, {.prefix_cache = false}, Device::kGivesLogits);
      expect_same(whole, single.submit_and_run(request), request.request);
    }
  }

 private:
  void start() {
    FakeBackend::Shape shape{.block_tokens = 1 + traffic_.below(8)};
    shape.blocks = 2 * tokens_max_ / shape.block_tokens + 1 + traffic_.below(24);
    const EngineOptions options{
        .sequences_max = 1 + traffic_.below(8),
        .step_tokens_max = 8 + traffic_.below(40),
        .step_seconds_max = traffic_.below(2) == 0 ? 0 : 1e-9,  // as little as there can be
        .step_target_seconds = traffic_.below(2) == 0 ? 0 : 1e-9,
        .prefix_cache = traffic_.below(4) != 0};
    if (bench_) steps_ahead_ += bench_->drawing.steps_ahead();
    bench_ = std::make_unique<Bench>(hashing_model(), shape, options, device_);
  }

  Traffic& traffic_;
  const Device device_;
  uint32_t tokens_max_;  // of a prompt, and of an answer: the smallest pool has room for both
  std::unique_ptr<Bench> bench_;
  std::vector<ipc::Submit> submitted_;
  std::set<ipc::RequestId> cancelled_;
  std::map<ipc::RequestId, Told> told_;  // by engines that have died
  uint64_t steps_ahead_ = 0;             // the same
};

// Returns how many steps were started ahead.
uint64_t run_campaign(Traffic traffic, Device device) {
  Crowd crowd(traffic, device);
  for (ipc::RequestId id = 1; id <= 40; ++id) {
    auto request = traffic.request(id);
    request.prompt.tokens.resize(std::min<size_t>(request.prompt.tokens.size(), crowd.tokens_max()));
    request.generation.tokens_max = std::min(request.generation.tokens_max, crowd.tokens_max());
    crowd.submit(std::move(request));
    if (traffic.below(8) == 0) crowd.cancel(1 + traffic.below(static_cast<uint32_t>(id)));
    for (uint32_t steps = traffic.below(12); steps > 0; --steps) crowd.step();
    if (traffic.below(25) == 0) crowd.die();
  }
  crowd.run();
  crowd.expect_what_each_gets_alone();
  return crowd.steps_ahead();
}

TEST(Campaign, RandomTrafficGivesEachRequestWhatItWouldGetAlone) {
  for (uint64_t seed = 1; seed <= campaign_seeds(60); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    run_campaign(Traffic(seed), device_of_environment());
  }
}

TEST(Campaign, StepsThatRunAheadGiveEachRequestWhatItWouldGetAlone) {
  uint64_t steps_ahead = 0;
  for (uint64_t seed = 1; seed <= campaign_seeds(60); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    steps_ahead += run_campaign(Traffic(seed), Device::kRunsAhead);
    steps_ahead += run_campaign(Traffic(seed, true), Device::kRunsAhead);
  }
  std::printf("%lu steps were started ahead\n", steps_ahead);
  EXPECT_GT(steps_ahead, 1000u);
}

}  // namespace
}  // namespace deepserve::runner::testing
