#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner/model/gguf/gguf_model.h"
#include "runner/model/gguf/gguf_shards.h"
#include "runner/model/model_paths.h"
#include "runner/model/model_weights.h"
#include "tests/unit/model/gguf_writer.h"
#include "tests/unit/model/temporary_directory.h"

namespace deepserve::runner {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kShards = 3;

// What a test wants to have otherwise than right.
struct Lies {
  uint32_t shard = kShards;  // whose facts lie, from 0; kShards: none
  uint32_t count = kShards;
  uint32_t number = 0;
  uint32_t tensors = 11;
  bool repeats_a_tensor = false;
};

// A one-layer model of width 8: embedding and output norm, the layer's vectors, the layer's matrices.
class SplitModel {
 public:
  explicit SplitModel(const Lies& lies = {}) {
    for (uint32_t shard = 0; shard < kShards; ++shard) write(shard, lies);
  }
  const fs::path& path() const { return directory_.path(); }
  fs::path shard(uint32_t shard) const { return path() / name(shard); }
  static std::string name(uint32_t shard) { return fmt::format("m-{:05}-of-{:05}.gguf", shard + 1, kShards); }

 private:
  void write(uint32_t shard, const Lies& lies) {
    GgufWriter writer;
    const bool lie = lies.shard == shard;
    const auto put_u16 = [&](const char* key, uint32_t value) {  // as gguf-split does
      writer.put_raw(key, 2, {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8)});
    };
    put_u16("split.no", lie ? lies.number : shard);
    put_u16("split.count", lie ? lies.count : kShards);
    writer.put_i32("split.tensors.count", static_cast<int32_t>(lies.tensors));
    if (shard == 0) put_metadata(writer);
    static const std::vector<std::vector<std::pair<std::string, std::vector<uint64_t>>>> kTensors = {
        {{"token_embd.weight", {8, 4}}, {"output_norm.weight", {8}}},
        {{"blk.0.attn_norm.weight", {8}}, {"blk.0.ffn_norm.weight", {8}}},
        {{"blk.0.attn_q.weight", {8, 8}},
         {"blk.0.attn_k.weight", {8, 8}},
         {"blk.0.attn_v.weight", {8, 8}},
         {"blk.0.attn_output.weight", {8, 8}},
         {"blk.0.ffn_gate.weight", {8, 8}},
         {"blk.0.ffn_up.weight", {8, 8}},
         {"blk.0.ffn_down.weight", {8, 8}}},
    };
    for (const auto& [tensor, dimensions] : kTensors[shard]) add(writer, tensor, dimensions);
    if (lies.repeats_a_tensor && shard == 2) add(writer, "blk.0.ffn_norm.weight", {8});
    directory_.write(name(shard), writer.bytes());
  }
  static void put_metadata(GgufWriter& writer) {
    writer.put_string("general.architecture", "llama");
    for (const char* key : {"embedding_length", "feed_forward_length"})
      writer.put_u32(std::string("llama.") + key, 8);
    writer.put_u32("llama.block_count", 1);
    writer.put_u32("llama.context_length", 64);
    writer.put_u32("llama.attention.head_count", 2);
    writer.put_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }
  static void add(GgufWriter& writer, const std::string& name, const std::vector<uint64_t>& dimensions) {
    uint64_t elements = 1;
    for (const uint64_t size : dimensions) elements *= size;
    writer.add_tensor(name, kernels::WeightType::kF32, dimensions, std::vector<uint8_t>(elements * 4));
  }

  TemporaryDirectory directory_;
};

std::string refusal(const fs::path& path) {
  const auto opened = open_gguf_model(path);
  if (opened) return "accepted";
  EXPECT_EQ(opened.error().code, Code::kBadModelFile);
  return opened.error().message;
}

TEST(GgufSplit, AnyShardOpensTheWholeModel) {
  const SplitModel model;
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    const auto opened = open_gguf_model(model.shard(shard));
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->files.all().size(), kShards);
    const auto weights = bind_model_weights(opened->tensors, opened->config);
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_EQ(weights->embedding.rows, 4u);
  }
}

TEST(GgufSplit, AMissingShardIsNamed) {
  const SplitModel model;
  fs::remove(model.shard(1));
  EXPECT_THAT(refusal(model.shard(2)), HasSubstr("the shard m-00002-of-00003.gguf is not there"));
}

TEST(GgufSplit, AShardThatSaysAnotherNumberOrCountIsNamed) {
  const SplitModel number({.shard = 1, .number = 2});
  EXPECT_THAT(refusal(number.shard(0)),
              HasSubstr("m-00002-of-00003.gguf: metadata key \"split.no\" at offset"));
  const SplitModel count({.shard = 2, .count = 4, .number = 2});
  EXPECT_THAT(refusal(count.shard(0)), HasSubstr("m-00003-of-00003.gguf: metadata key \"split.count\""));
  const SplitModel tensors({.tensors = 12});
  EXPECT_THAT(refusal(tensors.shard(0)), HasSubstr("12 tensors, the files have 11"));
}

TEST(GgufSplit, ATensorInTwoShardsIsRefused) {
  const SplitModel model({.tensors = 12, .repeats_a_tensor = true});
  const std::string text = refusal(model.shard(0));
  EXPECT_THAT(text, HasSubstr("m-00003-of-00003.gguf: tensor \"blk.0.ffn_norm.weight\""));
  EXPECT_THAT(text, HasSubstr("m-00002-of-00003.gguf already"));
}

TEST(GgufSplit, AShardUnderAnotherNameIsRefused) {
  const SplitModel model;
  fs::rename(model.shard(0), model.path() / "renamed.gguf");
  EXPECT_THAT(refusal(model.path() / "renamed.gguf"), HasSubstr("not named NAME-00001-of-0000N.gguf"));
}

TEST(GgufSplit, NamesAreReadAndMade) {
  const auto name = GgufShardName::parse("dir/big-model-00002-of-00163.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 163u);
  EXPECT_EQ(name->shard(1), "dir/big-model-00001-of-00163.gguf");
  for (const char* wrong :
       {"m.gguf", "m-00001-of-00003", "m-0001-of-0003.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf",
        "m-00001-of-00256.gguf", "m-+0001-of-00003.gguf", "m00001-of-00003.gguf", "-of-00003.gguf", ""}) {
    EXPECT_FALSE(GgufShardName::parse(wrong)) << wrong;
  }
}

TEST(GgufSplit, AllShardsMayBeReadInTheSandbox) {
  const SplitModel model;
  EXPECT_THAT(*paths_of_model(model.shard(1)), ElementsAre(model.shard(1), model.shard(0), model.shard(2)));
  fs::remove(model.shard(2));
  EXPECT_THAT(*paths_of_model(model.shard(0)), ElementsAre(model.shard(0), model.shard(1)));
  EXPECT_THAT(*paths_of_model("/nowhere/m.gguf"), testing::IsEmpty());
}

TEST(GgufSplit, AShardThatIsALinkToAFileElsewhereIsRefused) {
  const SplitModel model;
  fs::rename(model.shard(1), model.shard(1).string() + ".moved");
  fs::create_symlink(model.shard(1).string() + ".moved", model.shard(1));
  EXPECT_TRUE(paths_of_model(model.shard(0)));
  fs::remove(model.shard(2));
  fs::create_symlink("/etc/passwd", model.shard(2));
  const auto paths = paths_of_model(model.shard(0));
  ASSERT_FALSE(paths);
  EXPECT_THAT(paths.error().message,
              testing::HasSubstr(model.shard(2).string() + " is a link to /etc/passwd"));
}

}  // namespace
}  // namespace deepserve::runner
