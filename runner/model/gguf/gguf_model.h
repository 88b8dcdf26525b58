// A model in GGUF: one file, or the shards NAME-00001-of-00003.gguf that llama.cpp's gguf-split writes.
#pragma once

#include <filesystem>

#include "ipc/base/result.h"
#include "runner/model/opened_model.h"

namespace deepserve::runner {

// `path`: the file, or any one of the shards.
Result<OpenedModel> open_gguf_model(const std::filesystem::path& path);

}  // namespace deepserve::runner
