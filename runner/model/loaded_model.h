// A model file opened: everything that the runner needs to know of it, apart from how a device computes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

struct LoadedModel {
  std::unique_ptr<Backend> backend;
  std::optional<Vocabulary> vocabulary;  // none: the file carries no usable one (logits can still be had)
  Error vocabulary_error;                // then: why
};

// Opens `path` (a GGUF file), checks all of it, builds the backend for `kind` "cpu". The file stays mapped as
// long as the backend lives. kBadModelFile names file, tensor and offset; kNotSupported an unknown
// architecture or type.
Result<LoadedModel> load_model(const std::filesystem::path& path, const BackendOptions& options);

// An error that a later part found in the file (tokeniser, chat template, warm-up), with the file's path
// before it.
Error of_file(const std::filesystem::path& path, Error error);

}  // namespace deepserve::runner
