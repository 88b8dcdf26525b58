// Memory that processes share: a memfd of fixed size, sealed, so that whoever maps it never meets SIGBUS.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::ipc {

using MappedRegion = boost::interprocess::mapped_region;

std::span<std::byte> bytes_of(const MappedRegion& region);

// A new memfd (MFD_CLOEXEC) of `bytes` zeros, handed to `fill` while it is mapped, then sealed against
// shrinking, growing and further seals. `name` shows in /proc/<pid>/maps. kIo, kOutOfMemory, or fill's error.
Result<Fd> create_sealed_memory(const char* name, uint64_t bytes,
                                const std::function<Result<void>(std::span<std::byte>)>& fill);

// Maps all of it, once its seals hold and its size is not 0; the descriptor is not kept. kBadLane says what
// is wrong with `what`, "lane to the runner".
Result<MappedRegion> map_sealed_memory(const Fd& memfd, std::string_view what);

}  // namespace deepserve::ipc
