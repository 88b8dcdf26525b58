// Draws on the GPU beside the CPU's sampler: the same tokens, the same log probabilities, the same faults.
#include "kernels/cuda/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "tests/gpu/kernels/device_sampling.h"
#include "tests/unit/engine/random_draw.h"

namespace deepserve::kernels::cuda {
namespace {

using runner::testing::RandomDraw;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

RowFault fault_of(const Error& error) {
  if (error.code == Code::kInvalidRequest) return RowFault::kNothingLeft;
  EXPECT_EQ(error.code, Code::kNumericFault);
  return error.message.find("every token") != std::string::npos ? RowFault::kAllZero : RowFault::kNotALogit;
}

void expect_logprobs(const RowRequest& request, const RowOutcome& outcome, size_t draw,
                     std::span<const runner::RankedToken> wanted) {
  const double log_total = runner::log_of_total(outcome.row.total, outcome.row.best);
  EXPECT_EQ(runner::logprob_of(outcome.tokens[draw].logit, log_total), wanted[0].logprob);
  ASSERT_EQ(outcome.row.alternatives_size, wanted.size() - 1) << int{request.generation.logprobs};
  for (size_t i = 1; i < wanted.size(); ++i) {
    const RankedLogit& got = outcome.row.alternatives[i - 1];
    EXPECT_EQ(got.token, wanted[i].token) << i;
    EXPECT_EQ(runner::logprob_of(got.logit, log_total), wanted[i].logprob) << i;
  }
}

void expect_as_the_cpu(const RowRequest& request, const RowOutcome& outcome) {
  runner::Sampler sampler;
  const auto counts = request.counts();
  std::vector<float> row = request.logits;
  for (size_t i = 0; i < request.choices.size(); ++i) {
    const auto wanted = sampler.sample(
        {row},
        {request.generation, counts, request.choices[i], request.index, request.masked, {}, request.allowed});
    if (!wanted) {
      ASSERT_EQ(outcome.row.fault, fault_of(wanted.error())) << wanted.error().message;
      if (outcome.row.fault != RowFault::kNotALogit) continue;
      const auto told = "of token " + std::to_string(outcome.row.bad_token);
      EXPECT_TRUE(wanted.error().message.ends_with(told)) << wanted.error().message << " " << told;
      EXPECT_EQ(std::isnan(outcome.row.bad_logit), std::isnan(row[outcome.row.bad_token]));
      continue;
    }
    ASSERT_EQ(outcome.row.fault, RowFault::kNone);
    ASSERT_EQ(outcome.tokens[i].token, *wanted) << "choice " << request.choices[i];
    if (request.generation.logprobs == ipc::kNoLogprobs) continue;
    expect_logprobs(request, outcome, i, sampler.logprobs({row}, *wanted, request.generation.logprobs));
  }
  EXPECT_EQ(std::memcmp(outcome.logits_after.data(), row.data(), row.size() * sizeof(float)), 0)
      << "a row is as it was";
}

void expect_all_as_the_cpu(const std::vector<RowRequest>& requests) {
  const auto outcomes = DeviceSampling(requests).run();
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i));
    expect_as_the_cpu(requests[i], outcomes[i]);
  }
}

RowRequest random_request(uint64_t seed, uint32_t vocabulary) {
  RandomDraw random(seed, vocabulary);
  RowRequest request{.logits = random.row,
                     .generation = random.generation,
                     .prompt = random.prompt,
                     .answer = random.answer,
                     .masked = random.masked,
                     .allowed = random.allowed,
                     .index = static_cast<uint32_t>(random.below(1000))};
  if (random.below(3) == 0) request.generation.logprobs = static_cast<uint8_t>(random.below(21));
  for (uint16_t choice = 1; random.below(2) == 0; ++choice) request.choices.push_back(choice);
  return request;
}

// About 10,000 draws.
TEST(GpuSampling, DrawsWhatTheCpuDrawsWhateverIsAskedFor) {
  constexpr uint64_t kRows = 50;
  std::mt19937_64 random(1);
  for (uint64_t batch = 0; batch < 100; ++batch) {
    const auto vocabulary = static_cast<uint32_t>(1 + random() % (random() % 4 == 0 ? 60 : 6000));
    SCOPED_TRACE(testing::Message() << "batch " << batch << " of vocabulary " << vocabulary);
    std::vector<RowRequest> requests;
    for (uint64_t row = 0; row < kRows; ++row) {
      requests.push_back(random_request(batch * kRows + row, vocabulary));
    }
    expect_all_as_the_cpu(requests);
    if (HasFatalFailure()) return;
  }
}

// The requests that tell most apart, each with `logits`.
std::vector<RowRequest> all_kinds_of(const std::vector<float>& logits) {
  std::vector<RowRequest> requests;
  const auto add = [&](float temperature, uint32_t top_k, float top_p, float min_p) {
    RowRequest& request = requests.emplace_back(RowRequest{.logits = logits, .generation = {}});
    request.generation.temperature = temperature;
    request.generation.top_k = top_k;
    request.generation.top_p = top_p;
    request.generation.min_p = min_p;
    request.generation.seed = requests.size();
    request.generation.logprobs = static_cast<uint8_t>(5 * (requests.size() % 5));
    request.choices = {0, 1, 2, 3, 4};
  };
  add(0, 0, 1, 0);
  add(1, 0, 1, 0);
  add(1e-30f, 0, 1, 0);
  add(100, 0, 1, 0);
  add(1, 7, 1, 0);
  add(1, 0, 0.7f, 0);
  add(1, 0, 0.99999994f, 0);  // the largest below 1: what is negligible decides
  add(1, 0, 1, 0.3f);
  add(2, 40, 0.9f, 0.01f);
  return requests;
}

TEST(GpuSampling, EqualLogitsAreTakenInTheOrderOfIds) {
  for (const uint32_t size : {1u, 2u, 255u, 256u, 257u, 1000u, 5000u}) {
    SCOPED_TRACE(size);
    expect_all_as_the_cpu(all_kinds_of(std::vector<float>(size, 2.5f)));
    std::vector<float> zeros(size, 0.0f);  // of either sign: still equal
    for (size_t i = 0; i < size; i += 3) zeros[i] = -0.0f;
    expect_all_as_the_cpu(all_kinds_of(zeros));
  }
}

TEST(GpuSampling, TiesAtTheBorderOfTopKGoToTheLowerIds) {
  std::vector<float> logits(3000, -3.0f);
  for (size_t i = 5; i < 3000; i += 100) logits[i] = 4;
  for (size_t i = 2; i < 3000; i += 700) logits[i] = 6;
  expect_all_as_the_cpu(all_kinds_of(logits));
}

TEST(GpuSampling, ExtremesAreDrawnFromAsOnTheCpu) {
  constexpr float kMax = std::numeric_limits<float>::max(), kTiny = std::numeric_limits<float>::denorm_min();
  std::vector<float> denormals(600), halves(600, -kInfinity), huge(600, -kMax), one_left(600, -kInfinity);
  for (size_t i = 0; i < 600; ++i) denormals[i] = kTiny * static_cast<float>(i % 50);
  for (size_t i = 0; i < 600; i += 2) halves[i] = static_cast<float>(i % 9);
  huge[300] = kMax;
  huge[20] = kMax;
  one_left[577] = -1e30f;
  for (const auto& logits : {denormals, halves, huge, one_left}) expect_all_as_the_cpu(all_kinds_of(logits));
}

TEST(GpuSampling, TheFirstTokenWithoutALogitIsNamedWhereverItLies) {
  for (const float bad : {kNan, -kNan, kInfinity}) {
    for (const size_t place : {0u, 1u, 255u, 256u, 511u, 512u, 599u}) {
      std::vector<float> logits(600, 1.0f);
      logits[place] = logits[599] = bad;
      auto requests = all_kinds_of(logits);
      requests[1].masked = {static_cast<ipc::TokenId>(place)};  // also where nobody would draw it
      requests[2].allowed.assign(10, 0);
      requests[2].allowed[4] = 1;
      requests[3].generation.logit_bias = {{static_cast<ipc::TokenId>(place), 1.0f}};
      requests[4].generation.repetition_penalty = 2;
      requests[4].prompt = {static_cast<ipc::TokenId>(place), 599};
      expect_all_as_the_cpu(requests);
    }
  }
  expect_all_as_the_cpu(all_kinds_of(std::vector<float>(600, -kInfinity)));
}

TEST(GpuSampling, WhereNothingIsLeftTheModelIsNotToBlame) {
  const std::vector<float> logits(130, 1.0f);
  auto requests = all_kinds_of(logits);
  for (auto& request : requests) request.allowed = {0, 1, 0};  // token 64 alone
  expect_all_as_the_cpu(requests);
  for (auto& request : requests) request.masked = {64};
  expect_all_as_the_cpu(requests);
  for (auto& request : requests) request.masked = {64, 1000};  // there is none such
  expect_all_as_the_cpu(requests);
}

TEST(GpuSampling, PenaltiesThatOverflowAreTheRequestsFaultOnlyWhereTheyCount) {
  std::vector<float> logits(300, 1e38f);
  auto requests = all_kinds_of(logits);
  for (auto& request : requests) {
    request.generation.repetition_penalty = 0.01f;
    request.prompt = {7, 299};
  }
  expect_all_as_the_cpu(requests);
  for (auto& request : requests) request.masked = {7, 299};
  expect_all_as_the_cpu(requests);
  for (auto& request : requests) request.masked.clear(), request.allowed = {~uint64_t{1 << 7}, 3, 0, 0, 0};
  expect_all_as_the_cpu(requests);
}

TEST(GpuSampling, BiasesOfOneTokenAreAddedOneAfterTheOther) {
  std::vector<float> logits(300, 1.0f);
  auto requests = all_kinds_of(logits);
  for (auto& request : requests) {
    request.generation.logit_bias = {{9, 1e8f}, {3, 2.0f}, {9, -1e8f}, {9, 0.25f}, {299, 1.5f}};
  }
  expect_all_as_the_cpu(requests);
}

TEST(GpuSampling, AVocabularyOfAModelIsDrawnFrom) {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal(-2, 2.5f);
  std::vector<float> logits(151'936);
  for (float& logit : logits) logit = normal(random);
  for (int peak = 0; peak < 60; ++peak) logits[random() % logits.size()] += 15;
  auto requests = all_kinds_of(logits);
  requests[4].allowed.assign(logits.size() / 64, 0x8000000000000001);
  requests[5].generation.frequency_penalty = 0.5f;
  for (int i = 0; i < 3000; ++i) requests[5].answer.push_back(static_cast<ipc::TokenId>(random() % 151'936));
  expect_all_as_the_cpu(requests);
}

// What is drawn from changes between the launches, and how many rows there are.
TEST(GpuSampling, ACapturedDrawTakesTheRowsOfLaterSteps) {
  constexpr uint32_t kVocabulary = 600, kRows = 3;
  const size_t outline = kRows * logits_chunks(kVocabulary);
  DeviceArray<float> logits(kRows * kVocabulary), outlines(4 * outline), undone(1);
  DeviceArray<SampledRow> rows(kRows);
  DeviceArray<uint32_t> row_count(std::vector<uint32_t>{0});
  DeviceArray<uint16_t> choices(std::vector<uint16_t>(kRows, 0));
  DeviceArray<RowState> states(kRows);
  DeviceArray<DrawnRow> drawn(kRows);
  DeviceArray<RankedLogit> tokens(kRows);
  const SamplingArguments arguments{.logits = logits.data(),
                                    .vocabulary = kVocabulary,
                                    .rows_max = kRows,
                                    .rows = rows.data(),
                                    .row_count = row_count.data(),
                                    .choices = choices.data(),
                                    .states = states.data(),
                                    .undone = undone.data(),
                                    .largest = outlines.data(),
                                    .sums = outlines.data() + outline,
                                    .raw_largest = outlines.data() + 2 * outline,
                                    .raw_sums = outlines.data() + 3 * outline,
                                    .drawn = drawn.data(),
                                    .tokens = tokens.data()};
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  require(outline_rows(arguments, OutlineOf::kRaw, stream()));
  require(patch_rows(arguments, stream()));
  require(outline_rows(arguments, OutlineOf::kAdjusted, stream()));
  require(draw_tokens(arguments, stream()));
  require(cudaStreamEndCapture(stream(), &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  for (const uint32_t count : {1u, 3u, 2u}) {
    std::vector<float> values(kRows * kVocabulary, 0.0f);
    std::vector<SampledRow> sampled(kRows);
    for (uint32_t row = 0; row < kRows; ++row) {
      sampled[row] = {.row = row, .temperature = 0, .first_draw = row};
      values[row * kVocabulary + 100 * count + row] = 1;
    }
    logits.assign(values);
    rows.assign(sampled);
    states.assign(std::vector<RowState>(kRows));
    row_count.assign({count});
    tokens.assign(std::vector<RankedLogit>(kRows, {9999, 0}));
    require(cudaGraphLaunch(executable, stream()));
    const auto told = tokens.values();
    for (uint32_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(told[row].token, row < count ? 100 * count + row : 9999) << row << " of " << count;
    }
  }
  require(cudaGraphExecDestroy(executable));
  require(cudaGraphDestroy(graph));
}

TEST(GpuSampling, WithoutRowsNothingIsTouched) {
  DeviceArray<uint32_t> row_count(std::vector<uint32_t>{0});
  DeviceArray<float> logits(512);
  const SamplingArguments arguments{
      .logits = logits.data(), .vocabulary = 256, .rows_max = 2, .row_count = row_count.data()};
  require(outline_rows(arguments, OutlineOf::kRaw, stream()));
  require(patch_rows(arguments, stream()));
  require(outline_rows(arguments, OutlineOf::kAdjusted, stream()));
  require(draw_tokens(arguments, stream()));
  for (const float value : logits.values()) ASSERT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace deepserve::kernels::cuda
