// Models whose matrices are 8-bit floats with scales: what the CPU computes with them, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "runner/model/loaded_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/backend/threaded_ranks.h"
#include "tests/unit/model/hf_directory.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;
using testing::HasSubstr;

const std::vector<TokenId> kTokens = {1, 5, 9, 49, 0, 17, 3, 3, 30, 2, 41, 8, 12, 25, 6, 1, 44, 7};

// Blocks of 128 end inside of rows and columns.
const TinyModel kModel{.seed = 51,
                       .architecture = "qwen2",
                       .embedding = 136,
                       .feed_forward = 300,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 40};

std::vector<float> logits_of(const Backend& backend) {
  const auto logits = run_alone(const_cast<Backend&>(backend), kTokens);
  EXPECT_TRUE(logits) << logits.error().message;
  return logits ? *logits : std::vector<float>{};
}

std::vector<float> logits_of(const std::filesystem::path& path, const BackendOptions& options = {}) {
  auto loaded = load_model(path, options);
  EXPECT_TRUE(loaded) << loaded.error().message;
  return loaded ? logits_of(*loaded->backend) : std::vector<float>{};
}

bool have_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Fp8Backend, ComputesTheBitsOfTheFloat32ThatItsCodesAndScalesStandFor) {
  const Fp8Storage storages[] = {
      {}, {.scale_type = WeightType::kBF16}, {.in_blocks = false}, {.in_blocks = false, .one_scale = true}};
  for (const Fp8Storage& storage : storages) {
    const TemporaryDirectory coded, plain;
    write_fp8(coded, kModel, storage);
    plain.write("config.json", hf_config(kModel));
    plain.write("model.safetensors", safetensors_file(without_fp8(fp8_tensors(kModel, storage))));
    for (const char* isa : {"scalar", ""}) {
      BackendOptions options;
      options.isa = isa;
      const auto ours = logits_of(coded.path(), options), theirs = logits_of(plain.path(), options);
      SCOPED_TRACE(testing::Message() << storage.in_blocks << storage.one_scale << " " << isa);
      EXPECT_TRUE(have_same_bits(ours, theirs));
    }
  }
}

TEST(Fp8Backend, SaysWhatMostOfItsWeightsAre) {
  const TemporaryDirectory directory;
  write_fp8(directory, kModel);
  const auto loaded = load_model(directory.path(), {});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->backend->info().weights_type, "F8_E4M3");
}

TEST(Fp8Backend, RanksHaveTheirPartsWithTheScalesOfTheWhole) {
  TinyModel model = kModel;
  model.embedding = 128, model.feed_forward = 512, model.head_dim = 64;  // heads end with blocks
  const TemporaryDirectory directory;
  write_fp8(directory, model);
  BackendOptions options;
  options.kv_bytes = 4 << 20;
  const auto alone = logits_of(directory.path(), options);
  const ThreadedRanks group(directory.path(), 2, options);
  ASSERT_TRUE(group.loaded()) << group.loaded().error().message;
  EXPECT_TRUE(have_same_bits(logits_of(group.backend()), alone));
}

class Fp8Files : public testing::Test {
 protected:
  NamedTensor& tensor(const std::string& ending) {
    for (NamedTensor& one : tensors_) {
      if (one.name.ends_with(ending)) return one;
    }
    ADD_FAILURE() << ending;
    return tensors_.front();
  }
  std::string refusal(Code code = Code::kBadModelFile) {
    const TemporaryDirectory directory;
    directory.write("config.json", config_);
    directory.write("model.safetensors", safetensors_file(tensors_));
    const auto loaded = load_model(directory.path(), {});
    if (loaded) return "accepted";
    EXPECT_EQ(loaded.error().code, code) << loaded.error().message;
    return loaded.error().message;
  }

  std::vector<NamedTensor> tensors_ = fp8_tensors(kModel, {});
  std::string config_ = fp8_config(kModel, {});
};

TEST_F(Fp8Files, AreGoodAsTheyAre) {
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(Fp8Files, WithoutAWordOfTheirScalesAreRefused) {
  config_ = hf_config(kModel);
  EXPECT_THAT(refusal(), HasSubstr("no quantization_config says how it is scaled"));
}

TEST_F(Fp8Files, ThatLackScalesAreRefusedByTheTensorsName) {
  std::erase_if(tensors_, [](const auto& one) { return one.name.ends_with("k_proj.weight_scale_inv"); });
  EXPECT_THAT(refusal(), HasSubstr("k_proj.weight_scale_inv\" is missing"));
}

TEST_F(Fp8Files, WithScalesOfAnotherShapeAreRefusedWithBoth) {
  auto& scales = tensor("down_proj.weight_scale_inv");
  std::swap(scales.shape[0], scales.shape[1]);
  EXPECT_THAT(refusal(), HasSubstr("its shape is 2x3, not 3x2"));
}

TEST_F(Fp8Files, WithScalesForOtherRowsAreRefused) {
  const Fp8Storage of_rows{.in_blocks = false};
  tensors_ = fp8_tensors(kModel, of_rows), config_ = fp8_config(kModel, of_rows);
  EXPECT_EQ(refusal(), "accepted");
  auto& scales = tensor("down_proj.weight_scale");
  scales.shape[0] -= 1;
  scales.bytes.resize(scales.bytes.size() - 4);
  EXPECT_THAT(refusal(), HasSubstr("which is neither one scale nor one for each of 136 rows"));
}

TEST_F(Fp8Files, WithACodeThatIsNoNumberAreRefusedWithItsPlace) {
  for (const uint8_t code : {0x7f, 0xff}) {
    auto& weights = tensor("1.mlp.up_proj.weight");
    const uint8_t before = std::exchange(weights.bytes[777], code);
    EXPECT_THAT(refusal(), HasSubstr("1.mlp.up_proj.weight"));
    EXPECT_THAT(refusal(), HasSubstr("element 777 is not a finite number"));
    weights.bytes[777] = before;
  }
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(Fp8Files, WithScalesThatAreNoScalesAreRefused) {
  auto& scales = tensor("0.mlp.gate_proj.weight_scale_inv");
  const auto put = [&](float value) { std::memcpy(&scales.bytes[4], &value, 4); };
  put(NAN);
  EXPECT_THAT(refusal(), HasSubstr("element 1 is not a finite number"));
  put(-3e38f);
  EXPECT_THAT(refusal(), HasSubstr("scale 1 is -3e+38"));
  scales.type = WeightType::kF8E4M3;
  scales.bytes.resize(scales.bytes.size() / 4);
  EXPECT_THAT(refusal(), HasSubstr("scales of type F8_E4M3"));
}

TEST_F(Fp8Files, WithANormOfEightBitsAreRefused) {
  auto& norm = tensor("0.input_layernorm.weight");
  norm.type = WeightType::kF8E4M3;
  norm.bytes.resize(norm.bytes.size() / 4);
  EXPECT_THAT(refusal(), HasSubstr("F8_E4M3 where numbers without scales belong"));
}

TEST_F(Fp8Files, MayHaveScalesOfInputsWhichAreNotRoundedHere) {
  const float scale = 0.5f;
  NamedTensor input{"model.layers.0.mlp.up_proj.input_scale", WeightType::kF32, {}, std::vector<uint8_t>(4)};
  std::memcpy(input.bytes.data(), &scale, 4);
  tensors_.push_back(input);
  EXPECT_EQ(refusal(), "accepted");
  tensors_.back().name = "model.layers.0.mlp.up_proj.output_scale";
  EXPECT_THAT(refusal(Code::kNotSupported), HasSubstr("output_scale"));
}

}  // namespace
}  // namespace deepserve::runner
