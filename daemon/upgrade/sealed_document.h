// Bytes that one process leaves to the next in a memfd that nobody can change any more.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

inline constexpr uint64_t kDocumentBytesMax = uint64_t{2} << 30;

// A new memfd (close-on-exec) with these bytes, sealed against writing, growing, shrinking and further seals.
Result<Fd> seal_document(std::span<const std::byte> bytes);

// Its bytes. kIo when the descriptor is no memfd, a seal is missing, or it is larger than kDocumentBytesMax.
// The descriptor stays the caller's.
Result<std::vector<std::byte>> read_document(int memfd);

}  // namespace deepserve::daemon
