#include "ipc/lane/sealed_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace deepserve::ipc {
namespace {

namespace bip = boost::interprocess;

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// What mapped_region asks of a thing that can be mapped.
struct MappableFd {
  bip::mapping_handle_t get_mapping_handle() const { return {fd, false}; }
  int fd;
};

Result<MappedRegion> map_whole(const Fd& memfd) {
  try {
    return MappedRegion(MappableFd{memfd.get()}, bip::read_write);
  } catch (const std::exception& error) {
    return fail(Code::kOutOfMemory, "mapping shared memory: {}", error.what());
  }
}

}  // namespace

std::span<std::byte> bytes_of(const MappedRegion& region) {
  return {static_cast<std::byte*>(region.get_address()), region.get_size()};
}

Result<Fd> create_sealed_memory(const char* name, uint64_t bytes,
                                const std::function<Result<void>(std::span<std::byte>)>& fill) {
  Fd memfd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return fail_errno("memfd_create");
  if (::ftruncate(memfd.get(), static_cast<off_t>(bytes)) != 0) return fail_errno("sizing shared memory");
  TRY_ASSIGN(const auto region, map_whole(memfd));
  TRY(fill(bytes_of(region)));
  if (::fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno("sealing shared memory");
  return memfd;
}

Result<MappedRegion> map_sealed_memory(const Fd& memfd, std::string_view what) {
  // The seals come first: only a memory that cannot shrink may be mapped without fear of SIGBUS.
  const int seals = ::fcntl(memfd.get(), F_GET_SEALS);
  if (seals < 0) return fail(Code::kBadLane, "{}: descriptor {} is no memfd", what, memfd.get());
  if ((seals & kSeals) != kSeals) {
    return fail(Code::kBadLane, "{}: the seals are {:#x}, not {:#x} (shrink, grow, seal)", what, seals,
                kSeals);
  }
  struct stat status {};
  if (::fstat(memfd.get(), &status) != 0) return fail_errno("reading the size of shared memory");
  if (status.st_size <= 0)
    return fail(Code::kBadLane, "{}: the memory's size is {} bytes", what, status.st_size);
  return map_whole(memfd);
}

}  // namespace deepserve::ipc
