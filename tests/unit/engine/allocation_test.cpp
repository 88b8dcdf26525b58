// That a step of decoding takes no memory from the heap: a program of its own, since it replaces operator
// new.
#include <gtest/gtest.h>

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
class SteadyBackend final : public Backend {
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

 private:
  BackendInfo info_;
};

class CountingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override { tokens += event.tokens.size(); }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished&) override {}
  void failed(const ipc::Failed&) override {}
  size_t tokens = 0;
};

TEST(Allocation, AStepOfDecodingTakesNoneOnceItsMemoryIsThere) {
  SteadyBackend backend;
  FakeTokenizer tokenizer;
  CountingSink sink;
  const auto engine = Engine::make(backend, tokenizer, kNoChat, {}, sink).value();
  auto request = token_request(1, letters("abc"), 800);
  request.generation.temperature = 1;
  request.generation.top_p = 0.9f;
  request.generation.top_k = 12;
  request.generation.ignore_eos = true;
  request.generation.choices = 4;
  request.generation.logprobs = 5;
  request.generation.tokens_min = 700;
  request.generation.stop = {"no such text", "nor this"};
  request.generation.logit_bias = {{letter('q'), 1.0f}};
  engine->submit(request);
  // A sequence's tokens and blocks grow by doubling: 512 tokens are reached before and not left after.
  while (sink.tokens < 4 * 520) ASSERT_TRUE(engine->step());
  const size_t tokens_before = sink.tokens;
  const uint64_t before = allocations;
  ASSERT_GT(before, 0u);  // they are counted
  for (int step = 0; step < 100; ++step) {
    const bool stepped = engine->step().has_value();
    ASSERT_TRUE(stepped);
  }
  const uint64_t after = allocations;
  EXPECT_EQ(after - before, 0u);
  EXPECT_EQ(sink.tokens - tokens_before, 400u);
}

}  // namespace
}  // namespace deepserve::runner::testing
