// A model's files opened: everything that the runner needs to know of it, apart from how a device computes
// it.
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
  std::optional<Vocabulary> vocabulary;  // none: the files carry no usable one (logits can still be had)
  Error vocabulary_error;                // then: why
};

// Opens `path` (a GGUF file, any shard of a split one, or a Hugging Face directory), checks all of it, looks
// at every weight, builds the backend by `options.make`. On a CPU the files stay mapped as long as it lives.
// kBadModelFile names file, tensor and offset; kNotSupported an unknown architecture or type.
//
// With options.collective: one rank's part, and only that in memory of its own; all ranks call it at once.
// Rank 0 looks at the weights for all, and its backend leads the others (rank_group.h); theirs is for
// follow_rank_0. An error has been told to the other ranks.
Result<LoadedModel> load_model(const std::filesystem::path& path, const BackendOptions& options);

// An error that a later part found in the file (tokeniser, chat template, warm-up), with the file's path
// before it.
Error of_file(const std::filesystem::path& path, Error error);

}  // namespace deepserve::runner
