// That a step of decoding takes no memory from the heap: a program of its own, since it replaces operator
// new.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/unit/engine/fakes.h"

namespace {

std::atomic<uint64_t> allocations{0};

void* allocate(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t bytes) {
  return allocate(bytes);
}
void* operator new[](size_t bytes) {
  return allocate(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

namespace deepserve::runner::testing {
namespace {

// Gives every sequence the same logits, and allocates nothing for it.
class SteadyBackend : public Backend {
 public:
  SteadyBackend() {
    info_.vocabulary = kVocabulary;
    info_.embedding = kHiddenWidth;
    info_.context_tokens_model = 1024;
    info_.block_tokens = 16;
    info_.blocks = 512;
    info_.batch_tokens_max = 64;
  }
  const BackendInfo& info() const override { return info_; }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    for (size_t i = 0; i < outputs.logits.size(); ++i) {
      outputs.logits[i] = static_cast<float>(i % kVocabulary % 7);
    }
    write_outlines(batch, kVocabulary, outputs);
    return {};
  }
  void copy_block(BlockId, BlockId) override {}

 protected:
  BackendInfo info_;
};

// Draws the same token for all, and runs ahead.
class SteadyAheadBackend final : public SteadyBackend {
 public:
  SteadyAheadBackend() { info_.draws = info_.runs_ahead = true; }
  Result<void> start(std::span<const BatchEntry>, const StepOutputs& outputs) override {
    steps_ahead += started_ > finished_;
    under_way_[started_++ % 2] = outputs;
    return {};
  }
  Result<void> finish() override {
    const StepOutputs& outputs = under_way_[finished_++ % 2];
    std::ranges::fill(outputs.drawn_rows, DrawnRow{});
    std::ranges::fill(outputs.drawn_tokens, DrawnToken{letter('a'), 0});
    return {};
  }
  double device_seconds() const override { return 1e-3 * static_cast<double>(finished_); }
  uint64_t steps_ahead = 0;

 private:
  std::array<StepOutputs, 2> under_way_;
  uint64_t started_ = 0, finished_ = 0;
};

// Encodes what it is told, as a lane's sink does.
class CountingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override {
    tokens += event.tokens.size();
    event.encode(body_);
  }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished&) override {}
  void failed(const ipc::Failed&) override {}
  size_t tokens = 0;

 private:
  std::vector<std::byte> body_;
};

// Takes the choices to 520 tokens each, since what grows with them grows by doubling: 512 are reached before
// and 1024 not after. Then `steps` steps: the tokens that these gave, none of them with memory from the heap.
size_t expect_none(Backend& backend, const ipc::Submit& request, Speculation speculation, int steps) {
  FakeTokenizer tokenizer;
  CountingSink sink;
  EngineOptions options;
  options.speculation = speculation;
  const auto engine = Engine::make(backend, tokenizer, kNoChat, options, sink).value();
  engine->submit(request);
  while (sink.tokens < request.generation.choices * 520u) EXPECT_TRUE(engine->step());
  const size_t tokens_before = sink.tokens;
  const uint64_t before = allocations;
  EXPECT_GT(before, 0u);  // they are counted
  bool stepped = true;
  for (int step = 0; step < steps; ++step) stepped = engine->step().has_value() && stepped;
  const uint64_t after = allocations;
  EXPECT_TRUE(stepped);
  EXPECT_EQ(after - before, 0u);
  return sink.tokens - tokens_before;
}

size_t expect_none(const ipc::Submit& request, Speculation speculation, int steps) {
  SteadyBackend backend;
  return expect_none(backend, request, speculation, steps);
}

ipc::Submit request_of(uint16_t choices) {
  auto request = token_request(1, letters("abc"), 1000);
  request.generation.temperature = 1;
  request.generation.ignore_eos = true;
  request.generation.choices = choices;
  return request;
}

TEST(Allocation, AStepOfDecodingTakesNoneOnceItsMemoryIsThere) {
  auto request = request_of(4);
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
  request.generation.top_p = 0.9f;
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
  request.generation.top_k = 12;
  request.generation.tokens_min = 700;
  request.generation.stop = {"no such text", "nor this"};
  request.generation.logit_bias = {{letter('q'), 1.0f}};
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
}

TEST(Allocation, StepsThatRunAheadTakeNoneEither) {
  SteadyAheadBackend backend;
  EXPECT_EQ(expect_none(backend, request_of(4), Speculation::kOff, 100), 400u);
  EXPECT_GT(backend.steps_ahead, 500u);
}

TEST(Allocation, LogProbabilitiesAndPenaltiesTakeNoneEither) {
  auto request = request_of(4);
  request.generation.logprobs = 5;
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
  request.generation.logprobs = ipc::kNoLogprobs;
  request.generation.repetition_penalty = 1.2f;
  request.generation.frequency_penalty = 0.3f;
  request.generation.presence_penalty = 0.1f;
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
  request.generation.logprobs = 3;
  EXPECT_EQ(expect_none(request, Speculation::kOff, 100), 400u);
}

TEST(Allocation, DraftsTakeNoneEither) {
  auto request = request_of(1);
  EXPECT_GE(expect_none(request, Speculation::kAlways, 20), 20u);  // few of its drafts come true
  request.generation.temperature = 0;
  EXPECT_GT(expect_none(request, Speculation::kAlways, 20), 200u);
  request.generation.logprobs = 2;
  EXPECT_GT(expect_none(request, Speculation::kAlways, 20), 200u);
  EXPECT_GE(expect_none(request, Speculation::kAuto, 20), 20u);
}

}  // namespace
}  // namespace deepserve::runner::testing
