// Models whose matrices are 8-bit floats with scales, on the GPU beside the CPU.
#include <gtest/gtest.h>

#include "tests/gpu/backend/gpu_model.h"
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

std::vector<float> logits(const TemporaryDirectory& directory, const BackendOptions& options, size_t count) {
  std::vector<TokenId> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<TokenId>((i * 17 + 3) % kModel.vocabulary);
  return logits_of(directory.path(), options, tokens);
}

class Fp8OnAGpu : public testing::TestWithParam<Fp8Storage> {};

TEST_P(Fp8OnAGpu, LogitsAreTheCpusButForTheRoundingOfInputs) {
  const TemporaryDirectory directory;
  write_fp8(directory, kModel, GetParam());
  const auto cpu = logits(directory, {}, 40);
  EXPECT_LT(relative_error(logits(directory, gpu_options(), 40), cpu), kErrorMax);
}

TEST_P(Fp8OnAGpu, PrefillByALibraryComesToTheSame) {
  const TemporaryDirectory directory;
  write_fp8(directory, kModel, GetParam());
  BackendOptions by_library = gpu_options();
  by_library.deterministic = false;
  const double apart =
      relative_error(logits(directory, by_library, 70), logits(directory, gpu_options(), 70));
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
  EXPECT_LT(relative_error(logits(directory, gpu_options(), 20), logits(directory, {}, 20)), kErrorMax);
}

}  // namespace
}  // namespace deepserve::runner
