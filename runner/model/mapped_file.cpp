#include "runner/model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include "ipc/base/clock.h"

namespace deepserve::runner {
namespace {

// What a signal handler may look at. A slot is taken while `end` is not 0; `begin` is written before `end`.
struct MappedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
};
MappedRange mapped_ranges[kMappedFilesMax];
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

int register_range(uintptr_t begin, uintptr_t end) {
  for (int slot = 0; slot < kMappedFilesMax; ++slot) {
    uintptr_t nobody = 0;
    if (!mapped_ranges[slot].begin.compare_exchange_strong(nobody, begin)) continue;
    mapped_ranges[slot].end.store(end);
    return slot;
  }
  return -1;
}

void release_range(int slot) {
  mapped_ranges[slot].end.store(0);
  mapped_ranges[slot].begin.store(0);
}

FileIdentity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
          status.st_mtim.tv_sec * static_cast<int64_t>(kSecond_ns) + status.st_mtim.tv_nsec};
}

void advise(std::span<const uint8_t> piece, int advice) {
  static const auto page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(piece.data()) & ~(page_bytes - 1);
  const auto end = reinterpret_cast<uintptr_t>(piece.data()) + piece.size();
  madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  MappedFile file;
  file.path_ = path;
  file.fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would block otherwise
  if (!file.fd_ && errno == ENOENT)
    return fail(Code::kModelNotFound, "{}: there is no such file", path.string());
  if (!file.fd_) return fail_errno(fmt::format("{}: open", path.string()));
  struct stat status {};
  if (fstat(file.fd_.get(), &status) != 0) return fail_errno(fmt::format("{}: fstat", path.string()));
  if (!S_ISREG(status.st_mode)) return fail(Code::kBadModelFile, "{}: not a regular file", path.string());
  if (status.st_size == 0) return fail(Code::kBadModelFile, "{}: the file is empty", path.string());
  file.identity_ = identity_of(status);
  const size_t size = file.identity_.size_bytes;
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd_.get(), 0);
  if (address == MAP_FAILED) return fail_errno(fmt::format("{}: mmap of {} bytes", path.string(), size));
  file.bytes_ = {static_cast<const uint8_t*>(address), size};
  const auto begin = reinterpret_cast<uintptr_t>(address);
  file.slot_ = register_range(begin, begin + size);
  if (file.slot_ < 0) {
    return fail(Code::kBadModelFile, "{}: {} model files are mapped already", path.string(), kMappedFilesMax);
  }
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      identity_(other.identity_),
      bytes_(std::exchange(other.bytes_, {})),
      slot_(std::exchange(other.slot_, -1)) {}

MappedFile::~MappedFile() {
  if (slot_ >= 0) release_range(slot_);
  if (!bytes_.empty()) munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

Result<void> MappedFile::verify_unchanged() const {
  struct stat status {};
  if (fstat(fd_.get(), &status) != 0) return fail_errno(fmt::format("{}: fstat", path_.string()));
  const FileIdentity now = identity_of(status);
  if (now == identity_) return {};
  if (now.size_bytes != identity_.size_bytes) {
    return fail(Code::kBadModelFile, "{}: the file changed while it was in use: {} bytes, now {}",
                path_.string(), identity_.size_bytes, now.size_bytes);
  }
  return fail(Code::kBadModelFile, "{}: the file changed while it was in use: it was written to",
              path_.string());
}

Result<void> MappedFile::fetch(std::span<const uint8_t> piece) const {
  // Read rather than touched through the mapping: the system reads far ahead of read(), never of faults.
  constexpr size_t kReadBytes = 128u << 10;
  const auto scratch = std::make_unique<uint8_t[]>(kReadBytes);
  auto offset = static_cast<off_t>(piece.data() - bytes_.data());
  const off_t end = offset + static_cast<off_t>(piece.size());
  while (offset < end) {
    const size_t wanted = std::min(kReadBytes, static_cast<size_t>(end - offset));
    const ssize_t count = pread(fd_.get(), scratch.get(), wanted, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(fmt::format("{}: read at offset {}", path_.string(), offset));
    if (count == 0) {
      return fail(Code::kBadModelFile, "{}: the file changed while it was in use: it ends at {}",
                  path_.string(), offset);
    }
    offset += count;
  }
  return {};
}

void MappedFile::bring_in(std::span<const uint8_t> piece) const {
#ifdef MADV_POPULATE_READ
  // Where the kernel cannot (before 5.14), whoever reads the pages faults them in one by one.
  advise(piece, MADV_POPULATE_READ);
#else
  static_cast<void>(piece);
#endif
}

void give_back(std::span<const uint8_t> piece) {
  advise(piece, MADV_DONTNEED);
}

bool address_in_mapped_model(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  for (const MappedRange& range : mapped_ranges) {
    const uintptr_t end = range.end.load();
    if (end != 0 && wanted >= range.begin.load() && wanted < end) return true;
  }
  return false;
}

}  // namespace deepserve::runner
