#include "ipc/lane/memfd.h"

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

Result<bip::mapped_region> map_whole(const Fd& memfd) {
  try {
    return bip::mapped_region(MappableFd{memfd.get()}, bip::read_write);
  } catch (const std::exception& error) {
    return fail(Code::kOutOfMemory, "mapping a lane: {}", error.what());
  }
}

std::span<std::byte> bytes_of(const bip::mapped_region& region) {
  return {static_cast<std::byte*>(region.get_address()), region.get_size()};
}

}  // namespace

Result<Fd> create_direction(const LaneSizes& sizes, uint32_t features, Direction direction, uint64_t epoch) {
  TRY_ASSIGN(const Offsets offsets, offsets_of(sizes, features));
  TRY_ASSIGN(const uint64_t header_expected, header_offset());
  if (offsets.header != header_expected)
    return fail(Code::kInternal, "the lane header's offset depends on the sizes");
  Fd memfd(::memfd_create("deepserve-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return fail_errno("memfd_create");
  if (::ftruncate(memfd.get(), static_cast<off_t>(offsets.total_bytes)) != 0)
    return fail_errno("sizing a lane");
  TRY_ASSIGN(const auto region, map_whole(memfd));
  TRY(lay_out(bytes_of(region), sizes, features, direction, epoch));
  if (::fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno("sealing a lane");
  return memfd;
}

Result<std::shared_ptr<MappedDirection>> MappedDirection::map(const Fd& memfd, Direction direction,
                                                              uint64_t epoch_expected) {
  const auto name = direction_name(direction);
  // The seals come first: only a memory that cannot shrink may be mapped without fear of SIGBUS.
  const int seals = ::fcntl(memfd.get(), F_GET_SEALS);
  if (seals < 0) return fail(Code::kBadLane, "lane {}: descriptor {} is no memfd", name, memfd.get());
  if ((seals & kSeals) != kSeals) {
    return fail(Code::kBadLane, "lane {}: the seals are {:#x}, not {:#x} (shrink, grow, seal)", name, seals,
                kSeals);
  }
  struct stat status {};
  if (::fstat(memfd.get(), &status) != 0) return fail_errno("reading a lane's size");
  if (status.st_size <= 0)
    return fail(Code::kBadLane, "lane {}: the memory's size is {} bytes", name, status.st_size);
  TRY_ASSIGN(auto region, map_whole(memfd));
  TRY_ASSIGN(const HeaderFacts facts, check_header(bytes_of(region), direction, epoch_expected));
  return std::shared_ptr<MappedDirection>(new MappedDirection(std::move(region), facts));
}

ProcessIdentity MappedDirection::owner() const {
  return {.pid = header().owner_pid.load(std::memory_order_relaxed),
          .start_ticks = header().owner_start_ticks.load(std::memory_order_relaxed)};
}

void MappedDirection::set_owner(const ProcessIdentity& owner) const {
  header().owner_pid.store(owner.pid, std::memory_order_relaxed);
  header().owner_start_ticks.store(owner.start_ticks, std::memory_order_relaxed);
}

}  // namespace deepserve::ipc
