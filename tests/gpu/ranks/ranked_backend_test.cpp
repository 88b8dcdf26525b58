// Models over several ranks on emulated GPUs beside one process on one, and beside the CPU.
#include <gtest/gtest.h>

#include "runner/backend/rank_group.h"
#include "tests/gpu/backend/gpu_model.h"
#include "tests/gpu/ranks/forked_group.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr size_t kTokens = 40;

// What each rank does with the model; rank 0 gives its logits.
Result<std::vector<float>> serve(const TemporaryFile& file, Collective& peers,
                                 const std::vector<TokenId>& tokens, size_t chunk) {
  BackendOptions options = gpu_options();
  options.collective = &peers;
  TRY_ASSIGN(const auto nccl, cuda::open_device(options));
  options.nccl = nccl.get();
  TRY_ASSIGN(const LoadedModel loaded, load_model(file.path(), options));
  if (peers.rank() == 0) return logits_of(*loaded.backend, tokens, chunk);
  TRY(follow_rank_0(*loaded.backend, peers));
  return {};
}

// Of rank 0; empty where a rank had an error, which is a failure of the test.
std::vector<float> logits_of_ranks(const TinyModel& model, uint32_t ranks, size_t chunk) {
  const TemporaryFile file(model.gguf());
  const auto tokens = random_tokens(kTokens, model.vocabulary, model.seed);
  ForkedGroup group(ranks, "", [&](Collective& peers) { return serve(file, peers, tokens, chunk); });
  std::vector<float> logits;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const auto end = group.end(rank);
    if (!end || !end->was_done) ADD_FAILURE() << "rank " << rank << ": " << (end ? end->message : "hangs");
    if (end && end->was_done && rank == 0) logits = end->values;
  }
  return logits;
}

std::vector<float> logits_of_one(const TinyModel& model, const BackendOptions& options) {
  const TemporaryFile file(model.gguf());
  return logits_of(file.path(), options, random_tokens(kTokens, model.vocabulary, model.seed));
}

struct Spread {
  TinyModel model;
  uint32_t ranks;
};

class RankedBackend : public testing::TestWithParam<Spread> {};

TEST_P(RankedBackend, LogitsAreOneProcesssAndTheCpusButForTheRoundingOfInputs) {
  const auto& [model, ranks] = GetParam();
  const auto ours = logits_of_ranks(model, ranks, kTokens);
  EXPECT_LT(relative_error(ours, logits_of_one(model, gpu_options())), kErrorMax);
  EXPECT_LT(relative_error(ours, logits_of_one(model, exact_options())), kErrorMax);
}

TEST_P(RankedBackend, ChunksAndRunsChangeNoBit) {
  const auto& [model, ranks] = GetParam();
  const auto in_chunks = logits_of_ranks(model, ranks, 7);
  EXPECT_EQ(in_chunks.size(), kTokens * model.vocabulary);
  EXPECT_EQ(in_chunks, logits_of_ranks(model, ranks, kTokens));
}

const TinyModel kLlama{.seed = 1,
                       .type = WeightType::kBF16,
                       .embedding = 64,
                       .feed_forward = 96,
                       .heads = 8,
                       .kv_heads = 4,
                       .head_dim = 16};
const TinyModel kTied{.seed = 2,
                      .architecture = "qwen2",
                      .type = WeightType::kF16,
                      .embedding = 64,
                      .feed_forward = 100,
                      .heads = 8,
                      .head_dim = 16,
                      .tied = true};
// Heads of 8 that end inside the blocks of 32 columns of attention_output.
const TinyModel kBiased{.seed = 4,
                        .type = WeightType::kQ8_0,
                        .embedding = 64,
                        .feed_forward = 128,
                        .heads = 8,
                        .kv_heads = 4,
                        .head_dim = 8,
                        .linear_factor = 4,
                        .all_biases = true};
// Blocks of 256 columns: each rank has one of down's, and shares attention_output's.
const TinyModel kBlocks{.seed = 5,
                        .architecture = "qwen2",
                        .type = WeightType::kQ4K,
                        .embedding = 256,
                        .feed_forward = 1024,
                        .heads = 8,
                        .kv_heads = 4,
                        .head_dim = 64};

INSTANTIATE_TEST_SUITE_P(Models, RankedBackend,
                         testing::Values(Spread{kLlama, 2}, Spread{kLlama, 3}, Spread{kTied, 2},
                                         Spread{kBiased, 2}, Spread{kBiased, 4}, Spread{kBlocks, 2},
                                         Spread{kBlocks, 4}));

TEST(RankedBackendRefusal, HeadsThatCannotBeSpreadSoFarAreRefusedWithTheNumbersOnAllRanks) {
  const TemporaryFile file(kTied.gguf());
  ForkedGroup group(3, "", [&](Collective& peers) { return serve(file, peers, {1}, 1); });
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const auto end = group.end(rank);
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code, Code::kInvalidConfig) << end->message;
    EXPECT_NE(end->message.find("2 key-value heads cannot be spread over 3 ranks"), std::string::npos)
        << end->message;
  }
}

TEST(RankedBackendRefusal, ALibraryThatIsTooOldIsRefusedByNameOnAllRanks) {
  const TemporaryFile file(kTied.gguf());
  ForkedGroup group(2, "version=21703", [&](Collective& peers) { return serve(file, peers, {1}, 1); });
  for (uint32_t rank = 0; rank < 2; ++rank) {
    const auto end = group.end(rank);
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code, Code::kNotSupported) << end->message;
    EXPECT_NE(end->message.find("libnccl.so.2 is NCCL 2.17.3, at least 2.18.0 is needed"), std::string::npos)
        << end->message;
  }
}

}  // namespace
}  // namespace deepserve::runner
