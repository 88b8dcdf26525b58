// Models whose matrices are 8-bit floats with scales, on the GPU beside the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "runner/backend/cuda/cuda_backend.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/model/hf_directory.h"

namespace deepserve::runner {
namespace {

// Blocks of 128 end inside of rows and columns; the head and the embedding stay F32.
const TinyModel kModel{.seed = 61,
                       .architecture = "qwen2",
                       .embedding = 136,
                       .feed_forward = 300,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 40};
constexpr double kErrorMax = 0.03;  // as in cuda_backend_test.cpp

BackendOptions on_gpu() {
  BackendOptions options;
  options.make = cuda::make_cuda_backend;
  options.kv_type = kernels::KvType::kF16;
  options.kv_bytes = 1 << 22;
  options.deterministic = true;
  return options;
}

std::vector<float> logits(const std::filesystem::path& path, const BackendOptions& options, size_t tokens) {
  auto loaded = load_model(path, options);
  EXPECT_TRUE(loaded) << loaded.error().message;
  if (!loaded) return {};
  std::vector<TokenId> prompt(tokens);
  for (size_t i = 0; i < tokens; ++i) prompt[i] = static_cast<TokenId>((i * 17 + 3) % kModel.vocabulary);
  TestSequence sequence;
  sequence.tokens = prompt;
  for (BlockId block = 0; block * loaded->backend->info().block_tokens < tokens; ++block)
    sequence.blocks.push_back(block);
  const auto done = run_step(*loaded->backend, {&sequence, 1}, {&tokens, 1});
  EXPECT_TRUE(done) << done.error().message;
  return sequence.logits;
}

double distance(const std::vector<float>& ours, const std::vector<float>& theirs) {
  if (ours.empty() || ours.size() != theirs.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    difference += std::pow(double{ours[i]} - theirs[i], 2), norm += std::pow(double{theirs[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

class Fp8OnAGpu : public testing::TestWithParam<Fp8Storage> {};

TEST_P(Fp8OnAGpu, LogitsAreTheCpusButForTheRoundingOfInputs) {
  const TemporaryDirectory directory;
  write_fp8(directory, kModel, GetParam());
  const auto cpu = logits(directory.path(), {}, 40);
  EXPECT_LT(distance(logits(directory.path(), on_gpu(), 40), cpu), kErrorMax);
}

TEST_P(Fp8OnAGpu, PrefillByALibraryComesToTheSame) {
  const TemporaryDirectory directory;
  write_fp8(directory, kModel, GetParam());
  BackendOptions by_library = on_gpu();
  by_library.deterministic = false;
  const double apart =
      distance(logits(directory.path(), by_library, 70), logits(directory.path(), on_gpu(), 70));
  EXPECT_LT(apart, kErrorMax);
  EXPECT_GT(apart, 0) << "the library was not asked";
}

INSTANTIATE_TEST_SUITE_P(Scales, Fp8OnAGpu,
                         testing::Values(Fp8Storage{}, Fp8Storage{.in_blocks = false},
                                         Fp8Storage{.in_blocks = false, .one_scale = true}));

TEST(Fp8OnAGpu, MatricesOfBothKindsInOneProductBecomeBf16) {
  auto tensors = fp8_tensors(kModel, {});
  const auto plain = without_fp8(tensors);
  // Layer 0 has its key and its gate in float32.
  for (const std::string name :
       {"model.layers.0.self_attn.k_proj.weight", "model.layers.0.mlp.gate_proj.weight"}) {
    std::erase_if(tensors, [&](const NamedTensor& one) { return one.name.starts_with(name); });
    for (const NamedTensor& one : plain) {
      if (one.name == name) tensors.push_back(one);
    }
  }
  const TemporaryDirectory directory;
  directory.write("config.json", fp8_config(kModel, {}));
  directory.write("model.safetensors", safetensors_file(tensors));
  EXPECT_LT(distance(logits(directory.path(), on_gpu(), 20), logits(directory.path(), {}, 20)), kErrorMax);
}

}  // namespace
}  // namespace deepserve::runner
