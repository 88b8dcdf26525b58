#include "ipc/lane/memfd.h"

#include "ipc/lane/sealed_memory.h"

namespace deepserve::ipc {

Result<Fd> create_direction(const LaneSizes& sizes, uint32_t features, Direction direction, uint64_t epoch) {
  TRY_ASSIGN(const Offsets offsets, offsets_of(sizes, features));
  TRY_ASSIGN(const uint64_t header_expected, header_offset());
  if (offsets.header != header_expected)
    return fail(Code::kInternal, "the lane header's offset depends on the sizes");
  return create_sealed_memory("deepserve-lane", offsets.total_bytes, [&](std::span<std::byte> memory) {
    return lay_out(memory, sizes, features, direction, epoch);
  });
}

Result<std::shared_ptr<MappedDirection>> MappedDirection::map(const Fd& memfd, Direction direction,
                                                              uint64_t epoch_expected) {
  TRY_ASSIGN(auto region, map_sealed_memory(memfd, fmt::format("lane {}", direction_name(direction))));
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
