// What ranks on GPUs exchange, against the ranks that exchange over shared memory.
#include "runner/collective/nccl/nccl_group.h"

#include <gtest/gtest.h>

#include <random>

#include "runner/backend/cuda/device_exchange.h"
#include "runner/collective/nccl/nccl_library.h"
#include "tests/gpu/ranks/forked_group.h"

namespace deepserve::runner {
namespace {

using cuda::DeviceExchange;
using cuda::DeviceMemory;

constexpr uint32_t kEmbedding = 500;

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

RankShare share_of(const Collective& peers, std::vector<size_t> vocabulary) {
  RankShare share;
  share.rank = peers.rank();
  share.ranks = peers.size();
  share.vocabulary = std::move(vocabulary);
  return share;
}

Result<void> copy(void* to, const void* from, size_t count, cudaStream_t stream) {
  TRY(cuda::checked(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDefault, stream), "copying"));
  return cuda::checked(cudaStreamSynchronize(stream), "copying");
}

Result<void> expect_equal(const std::vector<float>& ours, const std::vector<float>& theirs) {
  for (size_t i = 0; i < theirs.size(); ++i) {
    if (std::memcmp(&ours[i], &theirs[i], sizeof(float)) == 0) continue;
    return fail(Code::kInternal, "value {} of {} is {}, not {}", i, theirs.size(), ours[i], theirs[i]);
  }
  return {};
}

// residual + the sum of all ranks' parts + bias, on the GPU and over shared memory.
Result<std::vector<float>> add_parts(Collective& peers, uint32_t tokens) {
  TRY_ASSIGN(const auto* library, load_nccl());
  TRY_ASSIGN(const auto group, NcclGroup::join(*library, peers));
  TRY_ASSIGN(DeviceExchange exchange,
             DeviceExchange::make(share_of(peers, std::vector<size_t>(peers.size(), 1)), group.get(),
                                  {.tokens_max = tokens, .embedding = kEmbedding, .logits_rows = 1}));
  const size_t count = size_t{tokens} * kEmbedding;
  auto part = random_values(count, peers.rank());
  const auto residual = random_values(count, 99), bias = random_values(kEmbedding, 98);
  TRY_ASSIGN(const auto stream, cuda::make_stream());
  TRY_ASSIGN(const DeviceMemory sum, DeviceMemory::make(count * sizeof(float), "a sum"));
  TRY_ASSIGN(const DeviceMemory device_bias, DeviceMemory::make(kEmbedding * sizeof(float), "a bias"));
  TRY(copy(exchange.part(), part.data(), count, stream.get()));
  TRY(copy(sum.data(), residual.data(), count, stream.get()));
  TRY(copy(device_bias.data(), bias.data(), kEmbedding, stream.get()));
  TRY(exchange.add_parts(reinterpret_cast<float*>(sum.data()), tokens,
                         reinterpret_cast<const float*>(device_bias.data()), stream.get()));
  TRY(exchange.wait(stream.get()));
  std::vector<float> ours(count);
  TRY(copy(ours.data(), sum.data(), count, stream.get()));
  TRY(peers.all_reduce_sum(part));
  for (size_t i = 0; i < count; ++i) part[i] = residual[i] + (part[i] + bias[i % kEmbedding]);
  TRY(expect_equal(ours, part));
  TRY(peers.barrier(Patience::kForever));
  return std::vector<float>{};
}

void expect_done(ForkedGroup& group, uint32_t ranks) {
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const auto end = group.end(rank);
    ASSERT_TRUE(end) << "rank " << rank << " hangs";
    EXPECT_TRUE(end->was_done) << "rank " << rank << ": " << end->message;
  }
}

TEST(NcclGroup, SumsOfFewValuesHaveTheBitsOfRanksThatExchangeOverSharedMemory) {
  for (const uint32_t ranks : {2u, 3u, 5u}) {
    ASSERT_TRUE(cuda::sums_in_one_round(ranks, 3 * kEmbedding));
    ForkedGroup group(ranks, "", [](Collective& peers) { return add_parts(peers, 3); });
    expect_done(group, ranks);
  }
}

TEST(NcclGroup, SumsOfManyValuesGoInTwoRoundsAndHaveTheSameBits) {
  constexpr uint32_t kRanks = 5, kTokens = 700;
  ASSERT_FALSE(cuda::sums_in_one_round(kRanks, kTokens * kEmbedding));
  ForkedGroup group(kRanks, "", [](Collective& peers) { return add_parts(peers, kTokens); });
  expect_done(group, kRanks);
}

TEST(NcclGroup, TwoRanksReadEachOthersPartsInOneRoundHoweverManyTheyAre) {
  EXPECT_TRUE(cuda::sums_in_one_round(2, uint64_t{1} << 40));
  EXPECT_TRUE(cuda::sums_in_one_round(8, 8 * 4096));
  EXPECT_FALSE(cuda::sums_in_one_round(8, 512 * 4096));
}

// Rows of uneven shares of the vocabulary come together on rank 0.
Result<std::vector<float>> gather_rows(Collective& peers) {
  const std::vector<size_t> vocabulary = {7, 3, 20};
  constexpr uint32_t kRows = 4;
  TRY_ASSIGN(const auto* library, load_nccl());
  TRY_ASSIGN(const auto group, NcclGroup::join(*library, peers));
  TRY_ASSIGN(DeviceExchange exchange,
             DeviceExchange::make(share_of(peers, vocabulary), group.get(),
                                  {.tokens_max = 1, .embedding = kEmbedding, .logits_rows = kRows}));
  const size_t own = vocabulary[peers.rank()];
  std::vector<float> part(kRows * own);
  for (size_t i = 0; i < part.size(); ++i)
    part[i] = static_cast<float>(1000 * peers.rank() + 100 * (i / own) + i % own);
  TRY_ASSIGN(const auto stream, cuda::make_stream());
  TRY_ASSIGN(const DeviceMemory rows, DeviceMemory::make(kRows * 30 * sizeof(float), "rows"));
  TRY(copy(exchange.logits_part(), part.data(), part.size(), stream.get()));
  TRY(exchange.gather_logits(kRows, reinterpret_cast<float*>(rows.data()), stream.get()));
  TRY(exchange.wait(stream.get()));
  std::vector<float> all(peers.rank() == 0 ? kRows * 30 : 0);
  TRY(copy(all.data(), rows.data(), all.size(), stream.get()));
  TRY(peers.barrier(Patience::kForever));  // who ends before the others have theirs is lost to them
  return all;
}

TEST(NcclGroup, RowsOfTheVocabularysSharesComeTogetherOnRank0) {
  ForkedGroup group(3, "", gather_rows);
  const auto first = group.end(0);
  ASSERT_TRUE(first && first->was_done) << (first ? first->message : "hangs");
  ASSERT_EQ(first->values.size(), 120u);
  for (size_t row = 0; row < 4; ++row) {
    const float* values = &first->values[row * 30];
    EXPECT_EQ(values[0], 100.0f * row);
    EXPECT_EQ(values[6], 100.0f * row + 6);
    EXPECT_EQ(values[7], 1000 + 100.0f * row);
    EXPECT_EQ(values[10], 2000 + 100.0f * row);
    EXPECT_EQ(values[29], 2000 + 100.0f * row + 19);
  }
}

}  // namespace
}  // namespace deepserve::runner
