#include "kernels/cuda/attention.h"

#include <gtest/gtest.h>

#include "tests/gpu/kernels/attention_batch.h"
#include "tests/gpu/relative_error.h"

namespace deepserve::kernels::cuda {
namespace {

// Holds some tokens of each entry against float64, and what lies behind the heads against zeros.
void expect_exact(const AttentionHeads& shape, const std::vector<TestEntry>& entries,
                  const AttentionOptions& options) {
  AttentionBatch batch(shape, entries);
  const auto out = batch.attend(options);
  const uint32_t width = shape.heads * shape.head_dim, stride = batch.out_stride(options);
  uint32_t row = 0;
  for (uint32_t e = 0; e < entries.size(); row += entries[e++].tokens) {
    const uint32_t tokens = entries[e].tokens, step = std::max(1u, tokens / 4);
    for (uint32_t token = (tokens - 1) % step; token < tokens; token += step) {
      std::vector<double> got;
      for (uint32_t i = 0; i < width; ++i) {
        got.push_back(bfloat16_to_float(out[size_t{row + token} * stride + i]));
      }
      ASSERT_LT(relative_error(got, batch.exact(e, token)), 4e-3)
          << "head_dim " << shape.head_dim << ", entry " << e << " at " << entries[e].begin << ", token "
          << token;
    }
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t i = width; i < stride; ++i) ASSERT_EQ(out[size_t{row + token} * stride + i], 0);
    }
  }
}

class GpuAttentionShapes : public testing::TestWithParam<AttentionHeads> {};

TEST_P(GpuAttentionShapes, DecodesContextsAroundEveryBorder) {
  const AttentionHeads shape = GetParam();
  RandomWeights random(41);
  std::vector<TestSequence> sequences;
  for (const uint32_t context : {1, 15, 16, 17, 65, 128, 129, 511, 512, 513, 1'025}) {
    sequences.emplace_back(random, shape, context, 2.0f);
  }
  std::vector<TestEntry> entries;
  for (const TestSequence& sequence : sequences) {
    entries.push_back({&sequence, sequence.positions - 1, 1});
  }
  expect_exact(shape, entries, {.padding = 24});
}

TEST(GpuAttention, MergesManySegments) {
  RandomWeights random(43);
  for (const AttentionHeads shape : {AttentionHeads{7, 1, 128}, AttentionHeads{2, 1, 256}}) {
    const TestSequence sequence(random, shape, 3'000, 2);
    expect_exact(shape, {{&sequence, 2'999, 1}}, {});
    expect_exact(shape, {{&sequence, 2'990, 3}}, {.splits = false});
    expect_exact(shape, {{&sequence, 2'980, 20}}, {});
  }
}

TEST_P(GpuAttentionShapes, PrefillsAndDecodesInOneBatch) {
  const AttentionHeads shape = GetParam();
  RandomWeights random(42);
  const TestSequence whole(random, shape, 70, 2), later(random, shape, 560, 2), one(random, shape, 33, 2);
  expect_exact(shape, {{&one, 32, 1}, {&whole, 0, 70}, {&later, 500, 60 / shape.group()}}, {.padding = 2});
}

INSTANTIATE_TEST_SUITE_P(Shapes, GpuAttentionShapes,
                         testing::Values(AttentionHeads{2, 2, 64}, AttentionHeads{14, 2, 64},
                                         AttentionHeads{8, 1, 80}, AttentionHeads{2, 1, 96},
                                         AttentionHeads{14, 2, 128}, AttentionHeads{14, 1, 128},
                                         AttentionHeads{2, 1, 256}, AttentionHeads{20, 1, 40}),
                         [](const auto& shape) {
                           return std::to_string(shape.param.heads) + "x" +
                                  std::to_string(shape.param.kv_heads) + "x" +
                                  std::to_string(shape.param.head_dim);
                         });

using Bits = std::vector<uint16_t>;

// The results of tokens [begin, begin + count) of the batch's first entry.
Bits rows_of(const AttentionHeads& shape, const Bits& out, uint32_t begin, uint32_t count) {
  const size_t width = size_t{shape.heads} * shape.head_dim;
  const auto first = out.begin() + static_cast<std::ptrdiff_t>(begin * width);
  return {first, first + static_cast<std::ptrdiff_t>(count * width)};
}

class GpuAttentionBits : public testing::TestWithParam<AttentionHeads> {};

TEST_P(GpuAttentionBits, AreTheSameHoweverAPromptWasCut) {
  const AttentionHeads shape = GetParam();
  RandomWeights random(44);
  constexpr uint32_t kTokens = 560;
  // Later values are large: what a token does not see must not show in its rounding.
  TestSequence sequence(random, shape, kTokens, 3);
  const size_t row = size_t{shape.kv_heads} * shape.head_dim;
  for (size_t i = 300 * row; i < sequence.values.size(); i += 5) sequence.values[i] = i % 2 ? 0x7bff : 0xfbff;
  const Bits whole = AttentionBatch(shape, {{&sequence, 0, kTokens}}).attend({});
  const auto expect_same = [&](uint32_t begin, uint32_t tokens, const AttentionOptions& options) {
    AttentionBatch part(shape, {{&sequence, begin, tokens}}, begin + 2);
    EXPECT_EQ(part.attend(options), rows_of(shape, whole, begin, tokens)) << begin << ", " << tokens;
  };
  for (const uint32_t position : {0u, 1u, 15u, 127u, 128u, 299u, 300u, 511u, 512u, 513u, 559u}) {
    expect_same(position, 1, {});
  }
  for (const uint32_t begin : {0u, 123u, 296u, 508u}) expect_same(begin, 7, {});
  for (const uint32_t begin : {112u, 290u, 504u}) expect_same(begin, 16, {});
  expect_same(0, 512, {});
  expect_same(512, 48, {.splits = false});
}

TEST_P(GpuAttentionBits, AreTheSameUnderEveryPlanAndSchedule) {
  const AttentionHeads shape = GetParam();
  RandomWeights random(45);
  const TestSequence first(random, shape, 1'100, 3), other(random, shape, 90, 3);
  for (const uint32_t tokens : {1u, 3u, 22u}) {
    const TestEntry entry{&first, 1'100 - tokens, tokens};
    const Bits alone = AttentionBatch(shape, {entry}).attend({});
    const auto expect_same = [&](const Bits& bits, uint32_t begin, const char* what) {
      EXPECT_EQ(rows_of(shape, bits, begin, tokens), alone) << tokens << " " << what;
    };
    expect_same(AttentionBatch(shape, {entry}).attend({.splits = false}), 0, "not split");
    expect_same(AttentionBatch(shape, {entry}).attend({.wide = false}), 0, "by four warps");
    expect_same(AttentionBatch(shape, {entry}).attend({.multiprocessors = 500}), 0, "split");
    expect_same(AttentionBatch(shape, {entry}).attend({.blocks = 0}), 0, "a block for each item");
    expect_same(AttentionBatch(shape, {{&other, 0, 90}, entry, {&other, 50, 1}}).attend({}), 90,
                "among others");
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GpuAttentionBits,
                         testing::Values(AttentionHeads{1, 1, 64}, AttentionHeads{3, 1, 80},
                                         AttentionHeads{2, 1, 128}));

TEST(GpuAttention, TakesLargeScores) {
  const AttentionHeads shape{2, 1, 64};
  RandomWeights random(46);
  for (const float magnitude : {100.0f, 60'000.0f}) {
    const TestSequence sequence(random, shape, 600, magnitude);
    expect_exact(shape, {{&sequence, 599, 1}, {&sequence, 0, 40}}, {});
  }
}

TEST(GpuAttention, ACapturedLaunchTakesTheItemsOfLaterSteps) {
  const AttentionHeads shape{2, 1, 64};
  RandomWeights random(47);
  const TestSequence sequence(random, shape, 700, 2);
  const AttentionOptions options{.blocks = 3};
  AttentionBatch batch(shape, {{&sequence, 699, 1}});
  const AttentionPlan all = batch.plan(options);
  AttentionPlan few;
  plan_attention(std::vector<AttentionEntry>{{0, 1, 20, 0}}, {.group = 2, .items_max = 10}, few);
  AttentionLaunch direct(batch, options), captured(batch, options);
  captured.take(few);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  require(captured.start());
  require(cudaStreamEndCapture(stream(), &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  for (const AttentionPlan* plan : std::initializer_list<const AttentionPlan*>{&few, &all, &few}) {
    direct.take(*plan);
    require(direct.start());
    captured.take(*plan);
    require(cudaGraphLaunch(executable, stream()));
    EXPECT_EQ(captured.results(), direct.results());
  }
  require(cudaGraphExecDestroy(executable));
  require(cudaGraphDestroy(graph));
}

TEST(GpuAttention, RefusesShapesThatItDoesNotKnow) {
  AttentionArguments good{};
  good.heads = 4;
  good.kv_heads = 2;
  good.head_dim = 64;
  good.out_stride = 256;
  good.workspace_size = {0, 0, 2, 64};
  EXPECT_EQ(paged_attention(good, stream()), cudaSuccess);  // and nothing to do
  const auto refused = [&](auto change) {
    AttentionArguments bad = good;
    change(bad);
    return paged_attention(bad, stream()) == cudaErrorInvalidValue;
  };
  EXPECT_TRUE(refused([](AttentionArguments& a) { a.heads = 5; }));
  EXPECT_TRUE(refused([](AttentionArguments& a) { a.kv_heads = 0; }));
  EXPECT_TRUE(refused([](AttentionArguments& a) { a.out_stride = 254; }));
  EXPECT_TRUE(refused([](AttentionArguments& a) { a.out_stride = 257; }));
  EXPECT_TRUE(refused([](AttentionArguments& a) { a.workspace_size.head_dim = 128; }));
  for (const uint32_t head_dim : {0u, 60u, 264u}) {
    EXPECT_TRUE(refused([&](AttentionArguments& a) {
      a.head_dim = a.workspace_size.head_dim = head_dim;
      a.out_stride = 2'048;
    })) << head_dim;
  }
  EXPECT_TRUE(refused([](AttentionArguments& a) {  // eight warps with heads of 256: there is no such kernel
    a.head_dim = a.workspace_size.head_dim = 256;
    a.out_stride = 1'024;
    a.blocks[2] = 1;
  }));
}

TEST(GpuAttention, SaysWhichKernelsAGpuHasRoomFor) {
  constexpr size_t kAmpere = 163 * 1024, kAda = 99 * 1024, kHopper = 227 * 1024;
  for (const uint32_t head_dim : {64u, 80u, 128u}) {
    EXPECT_TRUE(attention_has_kernels(head_dim, kAda)) << head_dim;
    EXPECT_TRUE(attention_has_wide(head_dim, kHopper)) << head_dim;
  }
  EXPECT_FALSE(attention_has_wide(128, kAmpere));
  EXPECT_TRUE(attention_has_kernels(256, kHopper));
  EXPECT_FALSE(attention_has_kernels(256, kAmpere));
  EXPECT_FALSE(attention_has_wide(256, kHopper));
  EXPECT_FALSE(attention_has_kernels(20, kHopper));
}

}  // namespace
}  // namespace deepserve::kernels::cuda
