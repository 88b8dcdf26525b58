// The engine over the real CPU backend and tokeniser, with small random models: exact whatever runs beside a
// request.
#include <gtest/gtest.h>

#include <random>

#include "runner/model/loaded_model.h"
#include "tests/unit/backend/threaded_ranks.h"
#include "tests/unit/engine/campaign_seeds.h"
#include "tests/unit/engine/fakes.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner::testing {
namespace {

// A model from a file, ready to be asked.
struct RealBench {
  RealBench(const std::filesystem::path& path, uint64_t kv_bytes, EngineOptions options,
            uint32_t threads = 2) {
    BackendOptions backend_options;
    backend_options.kv_bytes = kv_bytes;
    backend_options.threads = threads;
    model = load_model(path, backend_options).value();
    tokenizer = Tokenizer::make(*model.vocabulary).value();
    options.check_blocks = true;
    const Device device = device_of_environment();
    drawing.emplace(*model.backend, device == Device::kRunsAhead);
    Backend& chosen = device == Device::kGivesLogits ? *model.backend : static_cast<Backend&>(*drawing);
    engine = Engine::make(chosen, *tokenizer, kNoChat, options, sink).value();
  }
  void run() {
    while (engine->has_work()) ASSERT_TRUE(engine->step());
  }

  LoadedModel model;
  std::optional<DrawingBackend> drawing;
  std::unique_ptr<Tokenizer> tokenizer;
  RecordingSink sink;
  std::unique_ptr<Engine> engine;
};

std::vector<ipc::Submit> random_requests(std::mt19937_64& random, uint32_t vocabulary, uint32_t count) {
  std::vector<ipc::Submit> requests;
  for (ipc::RequestId id = 1; id <= count; ++id) {
    std::vector<TokenId> prompt(1 + random() % 60);
    for (auto& token : prompt) token = static_cast<TokenId>(random() % vocabulary);
    if (random() % 2 == 0) {  // half of them begin alike
      const size_t shared = random() % (prompt.size() + 1);
      for (size_t i = 0; i < shared; ++i) prompt[i] = static_cast<TokenId>((i * 7 + 5) % vocabulary);
    }
    auto request = token_request(id, std::move(prompt), 1 + static_cast<uint32_t>(random() % 50));
    request.service_class = static_cast<ipc::Class>(random() % 3);
    request.generation.temperature = random() % 2 == 0 ? 0.0f : 1.0f;
    request.generation.seed = random();
    request.generation.choices = random() % 3 == 0 ? 3 : 1;
    request.generation.logprobs = 0;
    request.generation.echo = random() % 2 == 0;
    if (random() % 4 == 0) request.work = ipc::Work::kEmbed;
    requests.push_back(std::move(request));
  }
  return requests;
}

// Adds the preemptions that the crowd saw to `preemptions`, and what it found computed to `hits`: not every
// schedule has them.
void run_campaign(const TinyModel& tiny, uint64_t seed, uint64_t& preemptions, uint64_t& hits) {
  SCOPED_TRACE(::testing::Message() << tiny.architecture << " seed " << seed);
  const TemporaryFile file(tiny.gguf());
  std::mt19937_64 random(seed);
  const auto requests = random_requests(random, tiny.vocabulary, 16);
  EngineOptions alone;
  alone.prefix_cache = false;
  RealBench roomy(file.path(), 0, alone);
  const uint64_t block_bytes = 2ull * tiny.layers * tiny.kv_heads * tiny.head_dim * sizeof(float) *
                               roomy.model.backend->info().block_tokens;
  EngineOptions crowded;
  crowded.sequences_max = 2 + static_cast<uint32_t>(random() % 6);
  crowded.step_tokens_max = 8 + static_cast<uint32_t>(random() % 40);
  crowded.prefix_cache = random() % 4 != 0;
  const uint32_t threads = 1 + static_cast<uint32_t>(random() % 4);
  RealBench crowd(file.path(), 12 * block_bytes, crowded, threads);
  for (const auto& request : requests) {
    crowd.engine->submit(request);
    for (uint64_t steps = random() % 6; steps > 0; --steps) ASSERT_TRUE(crowd.engine->step());
  }
  crowd.run();
  preemptions += crowd.engine->gauges().preemptions_total;
  hits += crowd.engine->gauges().prefix_hits_total;
  for (const auto& request : requests) {
    roomy.engine->submit(request);
    roomy.run();
    const Told& one = roomy.sink[request.request];
    const Told& among_many = crowd.sink[request.request];
    ASSERT_TRUE(among_many.finished) << among_many.failure.message;
    for (const auto& [number, choice] : one.choices) {
      const auto& other = among_many.choices.at(number);
      ASSERT_EQ(other.tokens, choice.tokens) << "request " << request.request << " choice " << number;
      for (size_t i = 0; i < choice.logprobs.size(); ++i) {
        ASSERT_EQ(other.logprobs[i][0].logprob, choice.logprobs[i][0].logprob);  // to the last bit
      }
      ASSERT_EQ(other.echo_logprobs.size(), choice.echo_logprobs.size());
      for (size_t i = 1; i < choice.echo_logprobs.size(); ++i) {
        ASSERT_EQ(other.echo_logprobs[i][0].logprob, choice.echo_logprobs[i][0].logprob);
      }
    }
    ASSERT_EQ(one.embedding.empty(), request.work != ipc::Work::kEmbed);
    ASSERT_EQ(among_many.embedding, one.embedding) << "request " << request.request;
  }
}

TEST(RealModel, ARequestAmongManyGetsBitForBitWhatItGetsAlone) {
  for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
    TinyModel tiny;
    tiny.architecture = architecture;
    uint64_t preemptions = 0;
    uint64_t hits = 0;
    for (uint64_t seed = 1; seed <= campaign_seeds(4); ++seed) run_campaign(tiny, seed, preemptions, hits);
    EXPECT_GT(preemptions, 0u) << architecture;
    EXPECT_GT(hits, 0u) << architecture;
  }
}

TEST(RealModel, ARequestThatIsResumedElsewhereGoesOnBitForBit) {
  const TemporaryFile file(TinyModel{}.gguf());
  RealBench bench(file.path(), 0, {});
  auto request = token_request(1, {5, 6, 7, 8, 9}, 40);
  request.generation.temperature = 1;
  request.generation.seed = 3;
  request.generation.ignore_eos = true;
  request.generation.logprobs = 2;
  bench.engine->submit(request);
  bench.run();
  const auto whole = bench.sink[1].choices.at(0);
  for (size_t done = 1; done < whole.tokens.size(); done += 7) {
    request.request = 1 + done;
    request.resumed = {{0, {whole.tokens.begin(), whole.tokens.begin() + static_cast<ptrdiff_t>(done)}}};
    bench.engine->submit(request);
    bench.run();
    const auto& rest = bench.sink[request.request].choices.at(0);
    for (size_t i = 0; i < rest.logprobs.size(); ++i) {
      ASSERT_EQ(rest.logprobs[i][0].logprob, whole.logprobs.at(done + i)[0].logprob);  // to the last bit
    }
    EXPECT_EQ(rest.tokens,
              std::vector<TokenId>(whole.tokens.begin() + static_cast<ptrdiff_t>(done), whole.tokens.end()));
    EXPECT_TRUE(whole.text.ends_with(rest.text));
  }
}

// All that a request was told, the numbers to the last bit.
void expect_equal(const Told& told, const Told& want, ipc::RequestId id) {
  SCOPED_TRACE(::testing::Message() << "request " << id);
  ASSERT_TRUE(told.finished) << told.failure.message;
  EXPECT_EQ(told.embedding, want.embedding);
  for (const auto& [number, choice] : want.choices) {
    const auto& other = told.choices.at(number);
    ASSERT_EQ(other.tokens, choice.tokens) << "choice " << number;
    ASSERT_EQ(other.logprobs.size(), choice.logprobs.size());
    for (size_t i = 0; i < choice.logprobs.size(); ++i) {
      ASSERT_EQ(other.logprobs[i][0].logprob, choice.logprobs[i][0].logprob);
    }
    ASSERT_EQ(other.echo_logprobs.size(), choice.echo_logprobs.size());
    for (size_t i = 1; i < choice.echo_logprobs.size(); ++i) {
      ASSERT_EQ(other.echo_logprobs[i][0].logprob, choice.echo_logprobs[i][0].logprob);
    }
  }
}

TEST(RealModel, DraftsChangeNoBitOfAnAnswer) {
  uint64_t accepted = 0;
  for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
    TinyModel tiny;
    tiny.architecture = architecture;
    const TemporaryFile file(tiny.gguf());
    RealBench plain(file.path(), 0, {});
    RealBench drafting(file.path(), 0, {.speculation = Speculation::kAlways});
    std::mt19937_64 random(5);
    for (auto& request : random_requests(random, tiny.vocabulary, 24)) {
      request.generation.temperature *= 0.2f;  // so that it repeats itself
      request.generation.ignore_eos = true;
      request.generation.tokens_max += 40;
      for (auto* bench : {&plain, &drafting}) {
        bench->engine->submit(request);
        bench->run();
      }
      expect_equal(drafting.sink[request.request], plain.sink[request.request], request.request);
    }
    accepted += drafting.engine->gauges().draft_tokens_accepted_total;
  }
  EXPECT_GT(accepted, 100u);
}

// A group of two: rank 0 has the engine, drafts reach rank 1 as tokens of a step.
TEST(RealModel, DraftsChangeNoBitOfAGroupsAnswerWhichIsThatOfOneProcess) {
  const TinyModel tiny;
  const TemporaryFile file(tiny.gguf());
  RealBench alone(file.path(), 0, {});
  ThreadedRanks ranks(file.path(), 2, BackendOptions{});
  ASSERT_TRUE(ranks.loaded()) << ranks.loaded().error().message;
  const auto tokenizer = Tokenizer::make(*ranks.model().vocabulary).value();
  uint64_t accepted = 0;
  for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
    RecordingSink sink;
    const EngineOptions options = {.speculation = speculation, .check_blocks = true};
    const auto engine = Engine::make(ranks.backend(), *tokenizer, kNoChat, options, sink).value();
    std::mt19937_64 random(6);
    for (auto& request : random_requests(random, tiny.vocabulary, 24)) {
      request.generation.temperature *= 0.2f;  // so that it repeats itself
      request.generation.ignore_eos = true;
      request.generation.tokens_max += 40;
      engine->submit(request);
      while (engine->has_work()) ASSERT_TRUE(engine->step());
      if (speculation == Speculation::kOff) {
        alone.engine->submit(request);
        alone.run();
      }
      expect_equal(sink[request.request], alone.sink[request.request], request.request);
    }
    accepted += engine->gauges().draft_tokens_accepted_total;
  }
  EXPECT_GT(accepted, 50u);
}

}  // namespace
}  // namespace deepserve::runner::testing
