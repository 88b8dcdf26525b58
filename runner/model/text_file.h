// The small text files of a model's directory, read whole: config.json and its like.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "ipc/base/result.h"

namespace deepserve::runner {

// kModelNotFound: there is no such file. kBadModelFile: no regular file, or longer than `bytes_max`. kIo: the
// system's reasons. All name `path`.
Result<std::string> read_text_file(const std::filesystem::path& path, uint64_t bytes_max);

// The same; none where there is no such file.
Result<std::optional<std::string>> read_text_file_if_there(const std::filesystem::path& path,
                                                           uint64_t bytes_max);

}  // namespace deepserve::runner
