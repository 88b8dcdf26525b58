// The secret that signs tickets (admission/ticket.h): 32 random bytes in the state directory, so that tickets
// outlive the daemon.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "ipc/base/result.h"

namespace deepserve::daemon {

using SecretKey = std::array<uint8_t, 32>;

SecretKey random_key();

// Reads the key file, or makes it (0600, whole or not at all) where there is none. A file that is a link, not
// 32 bytes, somebody else's, open to others or all zeros is refused by its path (kInvalidConfig): whoever
// knows the key may go ahead of all.
Result<SecretKey> load_or_make_key(const std::string& path);

// A number that is the same until the host boots again, and then another one.
uint64_t host_boot();

}  // namespace deepserve::daemon
