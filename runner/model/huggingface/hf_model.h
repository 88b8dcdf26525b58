// A model in a Hugging Face directory: config.json, model.safetensors or its shards with an index,
// generation_config.json where there is one, and the tokeniser's files.
#pragma once

#include <filesystem>

#include "ipc/base/result.h"
#include "runner/model/opened_model.h"

namespace deepserve::runner {

// Files may be symbolic links, as in Hugging Face's cache. Where there is a model.safetensors, an index
// beside it is not looked at (as in transformers).
Result<OpenedModel> open_hf_model(const std::filesystem::path& directory);

}  // namespace deepserve::runner
