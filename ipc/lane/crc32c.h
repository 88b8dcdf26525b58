// CRC-32C (Castagnoli, RFC 3720 appendix B.4) with SSE4.2's instruction where the processor has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace deepserve::ipc {

// `crc` continues an earlier value: crc32c(b, crc32c(a)) == crc32c(a then b).
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

// The table-driven path alone, for comparing it with the instruction.
uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace deepserve::ipc
