// What of the file system a model needs: for the sandbox, which closes the rest before the model is opened.
#pragma once

#include <filesystem>
#include <vector>

namespace deepserve::runner {

// `path` itself (a file or a directory, symbolic links followed), the other shards of a split GGUF, and what
// symbolic links inside of a directory point to: Hugging Face's cache keeps the files elsewhere. Only what
// is there; what is wrong with the rest, opening it will say.
std::vector<std::filesystem::path> paths_of_model(const std::filesystem::path& path);

}  // namespace deepserve::runner
