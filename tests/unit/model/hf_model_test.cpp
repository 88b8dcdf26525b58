#include "runner/model/huggingface/hf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner/model/model_paths.h"
#include "runner/model/model_weights.h"
#include "runner/model/tokenizer/tokenizer.h"
#include "tests/unit/model/hf_directory.h"

namespace deepserve::runner {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// Opened and bound: all that is checked before the bytes are read.
Result<void> open(const fs::path& directory) {
  TRY_ASSIGN(const OpenedModel model, open_hf_model(directory));
  TRY(bind_model_weights(model.tensors, model.config));
  return {};
}

std::string refusal(const TemporaryDirectory& directory, Code code = Code::kBadModelFile) {
  const auto opened = open(directory.path());
  if (opened) return "accepted";
  EXPECT_EQ(opened.error().code, code) << opened.error().message;
  EXPECT_THAT(opened.error().message, HasSubstr(directory.path().string()));
  return opened.error().message;
}

TEST(HfModel, OneFileAndShardsAreOpened) {
  for (const size_t shards : {1, 2, 5}) {
    const TemporaryDirectory directory;
    write_hf(directory, {}, shards);
    EXPECT_EQ(refusal(directory), "accepted");
    EXPECT_EQ(open_hf_model(directory.path())->files.all().size(), shards);
  }
}

// As Hugging Face's cache keeps a model: snapshots/COMMIT with links into blobs.
struct CachedModel {
  CachedModel() {
    const TemporaryDirectory model;
    write_hf(model, {}, 2);
    fs::create_directories(snapshot);
    fs::copy(model.path(), blobs);
    for (const auto& entry : fs::directory_iterator(blobs)) {
      const fs::path name = entry.path().filename();
      fs::create_symlink("../../blobs" / name, snapshot / name);
    }
  }

  // The message that the sandbox's paths are refused with.
  std::string refusal() const {
    const auto paths = paths_of_model(snapshot);
    return paths ? "accepted" : paths.error().message;
  }

  const TemporaryDirectory cache;
  const fs::path blobs = cache.path() / "blobs", snapshot = cache.path() / "snapshots" / "0123abcd";
};

TEST(HfModel, LinksIntoTheCachesBlobsAreFollowedAndAllowed) {
  const CachedModel model;
  const auto opened = open(model.snapshot);
  EXPECT_TRUE(opened) << opened.error().message;
  const fs::path from = fs::canonical(model.blobs);
  EXPECT_THAT(*paths_of_model(model.snapshot),
              UnorderedElementsAre(model.snapshot, from / "config.json", from / hf_shard_name(0, 2),
                                   from / hf_shard_name(1, 2), from / "model.safetensors.index.json"));
}

TEST(HfModel, ALinkToAFileElsewhereIsRefusedByNameAndTarget) {
  const TemporaryDirectory elsewhere;
  elsewhere.write("deepserve.toml", "secret");
  const fs::path secret = fs::canonical(elsewhere.path()) / "deepserve.toml";
  for (const char* name : {"tokenizer.json", "chat_template.jinja", "more.safetensors"}) {
    const CachedModel model;
    fs::create_symlink(secret, model.snapshot / name);
    EXPECT_THAT(model.refusal(),
                HasSubstr((model.snapshot / name).string() + " is a link to " + secret.string()));
  }
}

TEST(HfModel, BlobsNextToNoSnapshotAreElsewhere) {
  const CachedModel model;
  fs::create_directory(model.blobs / "deeper");
  fs::rename(model.blobs / "config.json", model.blobs / "deeper" / "config.json");
  fs::remove(model.snapshot / "config.json");
  fs::create_symlink("../../blobs/deeper/config.json", model.snapshot / "config.json");
  EXPECT_THAT(model.refusal(), HasSubstr("config.json is a link to"));
}

TEST(HfModel, LinksThatNothingOpensAllowNothing) {
  const CachedModel model;
  fs::create_symlink("/etc/passwd", model.snapshot / "x");
  fs::create_symlink("/etc/passwd", model.snapshot / "README.md");
  fs::create_symlink("nowhere", model.snapshot / "tokenizer.json");
  EXPECT_THAT(*paths_of_model(model.snapshot), testing::SizeIs(5));
}

TEST(HfModel, LinksWithinTheDirectoryAreAllowed) {
  const TemporaryDirectory directory;
  write_hf(directory, {}, 1);
  fs::rename(directory.path() / "model.safetensors", directory.path() / "weights.bin");
  fs::create_symlink("weights.bin", directory.path() / "model.safetensors");
  EXPECT_EQ(refusal(directory), "accepted");
  EXPECT_TRUE(paths_of_model(directory.path()));
}

TEST(HfModel, MissingFilesAreNamed) {
  const TemporaryDirectory directory;
  EXPECT_THAT(refusal(directory), HasSubstr("there is no config.json"));
  directory.write("config.json", hf_config({}));
  EXPECT_THAT(refusal(directory), HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
  directory.write("pytorch_model.bin", "pickle");
  EXPECT_THAT(refusal(directory, Code::kNotSupported), HasSubstr("pytorch_model.bin"));
}

TEST(HfModel, AMissingShardIsNamed) {
  const TemporaryDirectory directory;
  write_hf(directory, {}, 3);
  fs::remove(directory.path() / hf_shard_name(1, 3));
  EXPECT_THAT(refusal(directory), HasSubstr("the shard " + hf_shard_name(1, 3) + " is not there"));
}

TEST(HfModel, AShardThatIsCutIsRefused) {
  const TemporaryDirectory directory;
  write_hf(directory, {}, 3);
  const fs::path shard = directory.path() / hf_shard_name(1, 3);
  fs::resize_file(shard, fs::file_size(shard) - 1);
  EXPECT_THAT(refusal(directory), HasSubstr("reaches beyond the file's end"));
  fs::resize_file(shard, 0);
  EXPECT_THAT(refusal(directory), HasSubstr(hf_shard_name(1, 3) + ": the file is empty"));
}

// Two shards whose tensors and index are as the test says; the model does not matter.
struct Shards {
  TemporaryDirectory directory;
  Shards(const std::vector<std::string>& first, const std::vector<std::string>& second,
         const std::string& weight_map) {
    directory.write("config.json", hf_config({}));
    directory.write("a.safetensors", file_of(first));
    directory.write("b.safetensors", file_of(second));
    directory.write("model.safetensors.index.json", "{\"weight_map\": " + weight_map + "}");
  }
  static std::vector<uint8_t> file_of(const std::vector<std::string>& names) {
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names)
      tensors.push_back({name, kernels::WeightType::kF32, {1}, std::vector<uint8_t>(4)});
    return safetensors_file(tensors);
  }
};

TEST(HfModel, ATensorInTwoShardsIsRefusedWithBoth) {
  const Shards shards({"x"}, {"y", "x"}, R"({"x": "a.safetensors", "y": "b.safetensors"})");
  const std::string text = refusal(shards.directory);
  EXPECT_THAT(text, HasSubstr("b.safetensors: tensor \"x\" at offset "));
  EXPECT_THAT(text, HasSubstr("it is in "));
  EXPECT_THAT(text, HasSubstr("a.safetensors already"));
}

TEST(HfModel, AnIndexThatDoesNotSayWhatTheShardsHoldIsRefused) {
  const Shards not_named({"x"}, {"y"}, R"({"z": "a.safetensors", "y": "b.safetensors"})");
  EXPECT_THAT(refusal(not_named.directory), HasSubstr("tensor \"x\" at offset"));
  EXPECT_THAT(refusal(not_named.directory), HasSubstr("does not name it"));
  const Shards elsewhere({"x"}, {"y"}, R"({"x": "b.safetensors", "y": "a.safetensors"})");
  EXPECT_THAT(refusal(elsewhere.directory), HasSubstr("says it is in b.safetensors"));
  const Shards nowhere({"x"}, {"y"}, R"({"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"})");
  EXPECT_THAT(refusal(nowhere.directory), HasSubstr("tensor \"z\" is not in b.safetensors"));
  const Shards outside({"x"}, {"y"}, R"({"x": "../a.safetensors"})");
  EXPECT_THAT(refusal(outside.directory), HasSubstr("is not the name of a file in the same directory"));
}

std::string refusal_of_tensors(const TinyModel& model, const std::vector<NamedTensor>& tensors,
                               Code code = Code::kBadModelFile) {
  const TemporaryDirectory directory;
  directory.write("config.json", hf_config(model));
  directory.write("model.safetensors", safetensors_file(tensors));
  return refusal(directory, code);
}

TEST(HfModel, WeightsThatDoNotFitTheConfigAreNamed) {
  const auto tensors = hf_tensors({});
  auto fewer = tensors;
  std::erase_if(fewer, [](const auto& tensor) { return tensor.name == "model.layers.1.mlp.up_proj.weight"; });
  EXPECT_THAT(refusal_of_tensors({}, fewer),
              HasSubstr("tensor \"model.layers.1.mlp.up_proj.weight\" is missing"));
  fewer = tensors;
  std::erase_if(fewer, [](const auto& tensor) { return tensor.name == "lm_head.weight"; });
  EXPECT_THAT(refusal_of_tensors({}, fewer), HasSubstr("\"lm_head.weight\" is missing"));
  EXPECT_EQ(refusal_of_tensors({.tied = true}, fewer), "accepted");
  EXPECT_THAT(refusal_of_tensors({.vocabulary = 51}, tensors),
              HasSubstr("tensor \"model.embed_tokens.weight\" at offset"));
  EXPECT_THAT(refusal_of_tensors({.vocabulary = 51}, tensors), HasSubstr("24x50, not 24x51"));
  EXPECT_THAT(refusal_of_tensors({.all_biases = true}, tensors),
              HasSubstr("\"model.layers.0.self_attn.q_proj.bias\" is missing"));
  EXPECT_THAT(refusal_of_tensors({}, hf_tensors({.all_biases = true}), Code::kNotSupported),
              HasSubstr("_proj.bias\" at offset"));
  auto turned = tensors;
  std::swap(turned[0].shape[0], turned[0].shape[1]);
  EXPECT_THAT(refusal_of_tensors({}, turned), HasSubstr("50x24, not 24x50"));
}

// Byte-level BPE whose tokens are the letters a, b, c, ...
std::string tokenizer_of_letters(size_t tokens, const std::string& added_tokens = "") {
  std::string vocabulary;
  for (size_t i = 0; i < tokens; ++i)
    vocabulary += fmt::format("{}\"{}\": {}", i == 0 ? "" : ", ", static_cast<char>('a' + i), i);
  return fmt::format(R"({{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{}],
      "normalizer": null, "post_processor": null,
      "pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                         "use_regex": true}},
      "decoder": {{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}},
      "model": {{"type": "BPE", "vocab": {{{}}}, "merges": []}}}})",
                     added_tokens, vocabulary);
}

TEST(HfModel, EndTokensAreGenerationConfigsAndElseConfigs) {
  const TemporaryDirectory directory;
  write_hf(directory, {});
  directory.write("tokenizer.json", tokenizer_of_letters(20));
  const auto vocabulary = [&] {
    auto read = open_hf_model(directory.path())->vocabulary.get();
    EXPECT_TRUE(read) << read.error().message;
    return read.value_or(Vocabulary{});
  };
  EXPECT_THAT(vocabulary().end_tokens, ElementsAre(2));
  EXPECT_EQ(vocabulary().bos, 1u);
  directory.write("generation_config.json", R"({"eos_token_id": [7, 9], "temperature": 0.6})");
  EXPECT_THAT(vocabulary().end_tokens, ElementsAre(7, 9));
  const auto tokenizer = Tokenizer::make(vocabulary());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_TRUE((*tokenizer)->ends_generation(7));
  EXPECT_TRUE((*tokenizer)->ends_generation(9));
  EXPECT_FALSE((*tokenizer)->ends_generation(2));
  directory.write("generation_config.json", R"({"eos_token_id": 50})");
  const auto beyond = Tokenizer::make(vocabulary());
  ASSERT_FALSE(beyond);
  EXPECT_THAT(beyond.error().message, HasSubstr("50"));
}

TEST(HfModel, TheVocabularyHasAsManyTokensAsTheEmbeddingHasRows) {
  const TemporaryDirectory directory;
  write_hf(directory, {});
  directory.write("tokenizer.json", tokenizer_of_letters(20));
  const auto vocabulary = open_hf_model(directory.path())->vocabulary.get();
  ASSERT_TRUE(vocabulary);
  EXPECT_EQ(vocabulary->tokens.size(), 50u);
  EXPECT_EQ(vocabulary->kinds[49], TokenKind::kUnused);
  write_hf(directory, {.vocabulary = 19});
  const auto fewer = open_hf_model(directory.path())->vocabulary.get();
  ASSERT_FALSE(fewer);
  EXPECT_THAT(fewer.error().message, HasSubstr("20 tokens, the embedding 19 rows"));
}

TEST(HfModel, AddedTokensWithoutARowAreLeftOutUnlessTheyEndAnswers) {
  const TemporaryDirectory directory;
  write_hf(directory, {.vocabulary = 20});
  const std::string added = R"({"id": 19, "content": "t", "special": true},
      {"id": 20, "content": "[PAD]", "special": true}, {"id": 22, "content": "<extra>", "special": false})";
  directory.write("tokenizer.json", tokenizer_of_letters(20, added));
  auto vocabulary = open_hf_model(directory.path())->vocabulary.get();
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->tokens.size(), 20u);
  EXPECT_EQ(vocabulary->kinds.size(), 20u);
  ASSERT_EQ(vocabulary->added_tokens.size(), 1u);
  EXPECT_EQ(vocabulary->added_tokens[0].id, 19u);
  const auto tokenizer = Tokenizer::make(std::move(*vocabulary));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  directory.write("tokenizer_config.json", R"({"eos_token": "[PAD]"})");
  auto needed = open_hf_model(directory.path())->vocabulary.get();
  ASSERT_TRUE(needed) << needed.error().message;
  EXPECT_FALSE(Tokenizer::make(std::move(*needed)));
}

TEST(HfModel, FrequenciesThatOldVersionsStoredAreNoWeights) {
  auto tensors = hf_tensors({});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq",
                     kernels::WeightType::kF32,
                     {3},
                     std::vector<uint8_t>(12)});
  EXPECT_EQ(refusal_of_tensors({}, tensors), "accepted");
}

}  // namespace
}  // namespace deepserve::runner
