// Models over several ranks on emulated GPUs beside one process on one, and beside the CPU.
#include <gtest/gtest.h>

#include <optional>

#include "runner/backend/rank_group.h"
#include "tests/gpu/backend/gpu_model.h"
#include "tests/gpu/ranks/forked_group.h"
#include "tests/unit/model/hf_directory.h"
#include "tests/unit/model/temporary_directory.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr size_t kTokens = 40;

// What each rank does with the model; rank 0 gives its logits.
Result<std::vector<float>> serve(const std::filesystem::path& path, Collective& peers,
                                 const std::vector<TokenId>& tokens, size_t chunk) {
  BackendOptions options = gpu_options();
  options.collective = &peers;
  TRY_ASSIGN(const auto nccl, cuda::open_device(options));
  options.nccl = nccl.get();
  TRY_ASSIGN(const LoadedModel loaded, load_model(path, options));
  if (peers.rank() == 0) return logits_of(*loaded.backend, tokens, chunk);
  TRY(follow_rank_0(*loaded.backend, peers));
  return {};
}

struct Spread {
  TinyModel model;
  uint32_t ranks;
  std::optional<Fp8Storage> fp8 = {};  // how its matrices are stored; nothing: as the model says
};

// Where it lies as long as the object is there.
class StoredModel {
 public:
  explicit StoredModel(const Spread& spread) {
    if (spread.fp8) {
      write_fp8(directory_, spread.model, *spread.fp8);
    } else {
      directory_.write("model.gguf", spread.model.gguf());
    }
    path_ = spread.fp8 ? directory_.path() : directory_.path() / "model.gguf";
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  TemporaryDirectory directory_;
  std::filesystem::path path_;
};

std::vector<TokenId> prompt_of(const Spread& spread) {
  return random_tokens(kTokens, spread.model.vocabulary, spread.model.seed);
}

// Of rank 0; empty where a rank had an error, which is a failure of the test.
std::vector<float> logits_of_ranks(const Spread& spread, size_t chunk) {
  const StoredModel model(spread);
  const auto tokens = prompt_of(spread);
  ForkedGroup group(spread.ranks, "",
                    [&](Collective& peers) { return serve(model.path(), peers, tokens, chunk); });
  std::vector<float> logits;
  for (uint32_t rank = 0; rank < spread.ranks; ++rank) {
    const auto end = group.end(rank);
    if (!end || !end->was_done) ADD_FAILURE() << "rank " << rank << ": " << (end ? end->message : "hangs");
    if (end && end->was_done && rank == 0) logits = end->values;
  }
  return logits;
}

std::vector<float> logits_of_one(const Spread& spread, const BackendOptions& options) {
  const StoredModel model(spread);
  return logits_of(model.path(), options, prompt_of(spread));
}

class RankedBackend : public testing::TestWithParam<Spread> {};

TEST_P(RankedBackend, LogitsAreOneProcesssAndTheCpusButForTheRoundingOfInputs) {
  const auto ours = logits_of_ranks(GetParam(), kTokens);
  EXPECT_LT(relative_error(ours, logits_of_one(GetParam(), gpu_options())), kErrorMax);
  EXPECT_LT(relative_error(ours, logits_of_one(GetParam(), exact_options())), kErrorMax);
}

TEST_P(RankedBackend, ChunksAndRunsChangeNoBit) {
  const auto in_chunks = logits_of_ranks(GetParam(), 7);
  EXPECT_EQ(in_chunks.size(), kTokens * GetParam().model.vocabulary);
  EXPECT_EQ(in_chunks, logits_of_ranks(GetParam(), kTokens));
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

// Matrices in 8-bit floats, whose blocks of 128 end inside of what a rank has of rows and of columns.
const TinyModel kFloat8{.seed = 6,
                        .architecture = "qwen2",
                        .embedding = 136,
                        .feed_forward = 600,
                        .heads = 8,
                        .kv_heads = 4,
                        .head_dim = 40};

INSTANTIATE_TEST_SUITE_P(Models, RankedBackend,
                         testing::Values(Spread{kLlama, 2}, Spread{kLlama, 3}, Spread{kTied, 2},
                                         Spread{kBiased, 2}, Spread{kBiased, 4}, Spread{kBlocks, 2},
                                         Spread{kBlocks, 4}, Spread{kFloat8, 2, Fp8Storage{}},
                                         Spread{kFloat8, 3, Fp8Storage{.in_blocks = false}},
                                         Spread{kFloat8, 4, Fp8Storage{}}));

TEST(RankedBackendRefusal, HeadsThatCannotBeSpreadSoFarAreRefusedWithTheNumbersOnAllRanks) {
  const TemporaryFile file(kTied.gguf());
  ForkedGroup group(3, "", [&](Collective& peers) { return serve(file.path(), peers, {1}, 1); });
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
  ForkedGroup group(2, "version=21703", [&](Collective& peers) { return serve(file.path(), peers, {1}, 1); });
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
