// A model file in memory: mapped read-only, with the identity that it had when it was opened.
//
// Reading a mapped page whose file was cut short, or whose disk fails, raises SIGBUS. Whoever runs a model
// installs a handler for it and asks address_in_mapped_model() whether a model file is to blame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::runner {

struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;

  bool operator==(const FileIdentity&) const = default;
};

class MappedFile {
 public:
  // Opens and maps all of `path`. Not a regular file, empty, or more than kMappedFilesMax at a time:
  // kBadModelFile; not there: kModelNotFound; anything else of the system's: kIo.
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  const FileIdentity& identity() const { return identity_; }

  // One fstat: kBadModelFile naming what differs if the file's size or modification time is not what it was.
  // A file that was replaced by rename is another file: this mapping keeps the old one, whole.
  Result<void> verify_unchanged() const;

  // Reads `piece`, a part of bytes(), from the disk into memory. Fastest for the whole file from front to
  // back, by one thread at a time, with little of it there before: each page that is interrupts the system's
  // reading ahead. kIo: the disk failed; kBadModelFile: the file is shorter than it was.
  Result<void> fetch(std::span<const uint8_t> piece) const;
  // Maps the pages of `piece` in one call. Faster than touching them one by one; a failure to read what was
  // not fetched shows only when they are touched.
  void bring_in(std::span<const uint8_t> piece) const;

 private:
  MappedFile() = default;

  Fd fd_;
  std::filesystem::path path_;
  FileIdentity identity_;
  std::span<const uint8_t> bytes_;
  int slot_ = -1;  // in the table that address_in_mapped_model reads
};

// Takes the pages that hold `piece`, a part of a MappedFile's bytes(), out of this process's memory. The page
// cache keeps them, and they come back when they are touched.
void give_back(std::span<const uint8_t> piece);

inline constexpr int kMappedFilesMax = 256;

// True when `address` lies in a file that is mapped by a MappedFile. Async-signal-safe, lock-free.
bool address_in_mapped_model(const void* address);

}  // namespace deepserve::runner
