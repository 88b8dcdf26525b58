// The names of a split GGUF's files: NAME-00001-of-00003.gguf, as llama.cpp's gguf-split writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace deepserve::runner {

struct GgufShardName {
  static constexpr uint32_t kShardsMax = 255;  // that are mapped at a time (kMappedFilesMax)

  std::filesystem::path prefix;  // DIR/NAME
  uint32_t number = 0;           // from 1
  uint32_t count = 0;            // 1 to kShardsMax, not below number

  // None when `path` is not named so.
  static std::optional<GgufShardName> parse(const std::filesystem::path& path);

  // The path of another shard of the same model.
  std::filesystem::path shard(uint32_t of_number) const;
};

}  // namespace deepserve::runner
