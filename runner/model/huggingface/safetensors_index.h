// model.safetensors.index.json: which tensor lies in which file of a sharded model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

struct SafetensorsIndex {
  static constexpr uint64_t kTextBytesMax = 64u << 20;
  static constexpr uint64_t kMemoryBytesMax = 512u << 20;
  static constexpr uint64_t kFilesMax = 255;  // that are mapped at a time (kMappedFilesMax)

  std::vector<std::string> files;                      // distinct, sorted; names without a directory
  std::map<std::string, size_t, std::less<>> tensors;  // name -> index into files
};

// `file` is what errors call the text. kBadModelFile: it is no index, names a tensor twice, or a file that
// is not a plain name in the same directory ("../x").
Result<SafetensorsIndex> parse_safetensors_index(std::string_view text, const std::string& file);

}  // namespace deepserve::runner
