// The weight files of one model, all of them mapped: one GGUF or safetensors file, or all of its shards.
#pragma once

#include <vector>

#include "ipc/base/result.h"
#include "runner/model/mapped_file.h"

namespace deepserve::runner {

class ModelFiles {
 public:
  // Maps one more; the errors are MappedFile::open's.
  Result<void> open(const std::filesystem::path& path);

  const std::vector<MappedFile>& all() const { return files_; }
  const MappedFile& last() const { return files_.back(); }

  // kBadModelFile naming the first file whose size or modification time is not what it was.
  Result<void> verify_unchanged() const;

 private:
  std::vector<MappedFile> files_;
};

}  // namespace deepserve::runner
