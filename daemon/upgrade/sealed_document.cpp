#include "daemon/upgrade/sealed_document.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace deepserve::daemon {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

}  // namespace

Result<Fd> seal_document(std::span<const std::byte> bytes) {
  if (bytes.size() > kDocumentBytesMax) {
    return fail(Code::kPayloadTooLarge, "the state to hand over takes {} bytes; {} are the most",
                bytes.size(), kDocumentBytesMax);
  }
  Fd memfd(::memfd_create("deepserve-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return fail_errno("memfd_create");
  while (!bytes.empty()) {
    const ssize_t written = ::write(memfd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno("writing the state to hand over");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  if (::fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno("sealing the state to hand over");
  return memfd;
}

Result<std::vector<std::byte>> read_document(int memfd) {
  const int seals = ::fcntl(memfd, F_GET_SEALS);
  if (seals < 0) return fail(Code::kIo, "descriptor {} is no memfd", memfd);
  if ((seals & kSeals) != kSeals) {
    return fail(Code::kIo, "the seals of the handed state are {:#x}, not {:#x}", seals, kSeals);
  }
  struct stat status {};
  if (::fstat(memfd, &status) != 0) return fail_errno("reading the size of the handed state");
  if (static_cast<uint64_t>(status.st_size) > kDocumentBytesMax) {
    return fail(Code::kIo, "the handed state is larger than {} bytes", kDocumentBytesMax);
  }
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::pread(memfd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail_errno("reading the handed state");
    at += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace deepserve::daemon
