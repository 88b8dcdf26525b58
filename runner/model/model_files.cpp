#include "runner/model/model_files.h"

#include "runner/model/content_hash.h"

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

uint64_t ModelFiles::read_and_hash(uint64_t seed,
                                   const std::function<void(uint64_t bytes_so_far)>& on_bytes) const {
  uint64_t bytes_before = 0, value = seed;
  for (const MappedFile& file : files_) {
    ContentHash hash(value);
    file.read_through([&](std::span<const uint8_t> piece, uint64_t bytes_so_far) {
      hash.add(piece);
      if (on_bytes) on_bytes(bytes_before + bytes_so_far);
    });
    bytes_before += file.bytes().size();
    value = hash.value();
  }
  return value;
}

}  // namespace deepserve::runner
