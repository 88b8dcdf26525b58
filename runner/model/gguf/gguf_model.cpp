#include "runner/model/gguf/gguf_model.h"

#include <algorithm>
#include <future>
#include <optional>

#include "runner/model/gguf/gguf.h"
#include "runner/model/gguf/gguf_config.h"
#include "runner/model/gguf/gguf_shards.h"
#include "runner/model/gguf/gguf_vocabulary.h"
#include "runner/model/weight_names.h"

namespace deepserve::runner {
namespace {

constexpr const char* kCountKey = "split.count";
constexpr const char* kNumberKey = "split.no";
constexpr const char* kTensorsKey = "split.tensors.count";

struct ShardFacts {
  uint64_t number = 0;  // from 0
  uint64_t count = 1;
  uint64_t tensors = 0;  // of all shards together; 0: not stated
};

Result<ShardFacts> read_shard_facts(const Gguf& file) {
  ShardFacts facts;
  TRY_ASSIGN(const auto count, file.find_unsigned(kCountKey));
  TRY_ASSIGN(const auto number, file.find_unsigned(kNumberKey));
  TRY_ASSIGN(const auto tensors, file.find_unsigned(kTensorsKey));
  facts.count = std::max<uint64_t>(count.value_or(1), 1);
  facts.number = number.value_or(0);
  facts.tensors = tensors.value_or(0);
  return facts;
}

Result<Gguf> open_file(const std::filesystem::path& path, ModelFiles& files) {
  TRY(files.open(path));
  return Gguf::parse(files.last().bytes(), path.string());
}

// What the file says of itself is what its name says.
Result<void> check_shard(const Gguf& file, const ShardFacts& facts, uint32_t number, uint32_t count) {
  if (facts.count != count)
    return file.bad_value(kCountKey, fmt::format("{} files, its name says {}", facts.count, count));
  if (facts.number + 1 == number) return {};
  return file.bad_value(kNumberKey,
                        fmt::format("{} (from 0), its name says {} (from 1)", facts.number, number));
}

struct ShardedFile {
  Gguf first;  // which has the metadata
  ModelTensors tensors;
};

// `path` is one of the files, and says that there are several.
Result<ShardedFile> open_shards(const std::filesystem::path& path, const Gguf& any, ModelFiles& files) {
  const auto name = GgufShardName::parse(path);
  if (!name) {
    return any.bad_value(kCountKey,
                         "the file is part of a split model, but not named NAME-00001-of-0000N.gguf "
                         "(at most 255 files)");
  }
  ModelTensors tensors(path.string(), TensorNaming::kGguf);
  std::optional<Gguf> first;
  uint64_t tensors_stated = 0;
  for (uint32_t number = 1; number <= name->count; ++number) {
    const std::filesystem::path shard_path = name->shard(number);
    auto shard = open_file(shard_path, files);
    if (!shard && shard.error().code == Code::kModelNotFound) {
      return fail(Code::kBadModelFile, "{}: the shard {} is not there", path.string(),
                  shard_path.filename().string());
    }
    TRY(shard);
    TRY_ASSIGN(const ShardFacts facts, read_shard_facts(*shard));
    TRY(check_shard(*shard, facts, number, name->count));
    TRY(tensors.add_file(shard->name(), shard->tensors()));
    if (number == 1) {
      tensors_stated = facts.tensors;
      first = std::move(*shard);
    }
  }
  if (tensors_stated != 0 && tensors_stated != tensors.all().size()) {
    return first->bad_value(
        kTensorsKey, fmt::format("{} tensors, the files have {}", tensors_stated, tensors.all().size()));
  }
  return ShardedFile{std::move(*first), std::move(tensors)};
}

// Rows of the embedding; 0 where there is none, which binding the weights will say.
uint64_t vocabulary_size(const ModelTensors& tensors) {
  const StoredTensor* embedding =
      tensors.find(weight_name(TensorNaming::kGguf, WeightPart::kEmbedding, WeightSuffix::kWeight));
  return embedding == nullptr ? 0 : embedding->dimensions[1];
}

Result<OpenedModel> read_model(Gguf metadata, ModelTensors tensors, ModelFiles files) {
  TRY_ASSIGN(const ModelConfig config, read_gguf_config(metadata));
  auto vocabulary =
      std::async(std::launch::async, [gguf = std::move(metadata), size = vocabulary_size(tensors)] {
        return read_gguf_vocabulary(gguf, size);
      });
  return OpenedModel{std::move(files), std::move(tensors), config, 0, std::move(vocabulary)};
}

}  // namespace

Result<OpenedModel> open_gguf_model(const std::filesystem::path& path) {
  ModelFiles files;
  TRY_ASSIGN(Gguf file, open_file(path, files));
  TRY_ASSIGN(const ShardFacts facts, read_shard_facts(file));
  if (facts.count > 1) {
    ModelFiles shards;
    TRY_ASSIGN(ShardedFile sharded, open_shards(path, file, shards));
    return read_model(std::move(sharded.first), std::move(sharded.tensors), std::move(shards));
  }
  ModelTensors tensors(path.string(), TensorNaming::kGguf);
  TRY(tensors.add_file(file.name(), file.tensors()));
  return read_model(std::move(file), std::move(tensors), std::move(files));
}

}  // namespace deepserve::runner
