#include "runner/model/model_files.h"

namespace deepserve::runner {

Result<void> ModelFiles::open(const std::filesystem::path& path) {
  TRY_ASSIGN(MappedFile file, MappedFile::open(path));
  files_.push_back(std::move(file));
  return {};
}

Result<void> ModelFiles::verify_unchanged() const {
  for (const MappedFile& file : files_) TRY(file.verify_unchanged());
  return {};
}

}  // namespace deepserve::runner
