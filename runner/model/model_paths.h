// What of the file system a model needs: for the sandbox, which closes the rest before the model is opened.
#pragma once

#include <filesystem>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

// `path` itself (a file or a directory, symbolic links followed: whoever configures a model may name one),
// the other shards of a split GGUF, and what those symbolic links inside of a directory point to that opening
// the model follows. Only what is there; what is wrong with the rest, opening it will say.
//
// A model's directory is hostile input: a link may point into the directory itself or, as in Hugging Face's
// cache, to a file in its ../../blobs. kBadModelFile names any other link that would be followed, and its
// target; links of other names are neither followed nor refused.
Result<std::vector<std::filesystem::path>> paths_of_model(const std::filesystem::path& path);

}  // namespace deepserve::runner
