// Listening sockets: made here, or inherited (LISTEN_FDS). All of them non-blocking and close-on-exec.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// Binds and listens on a Unix socket with these permissions. A socket file that nobody answers is replaced;
// kConflict when somebody does, kInvalidConfig for a path longer than sockets allow, kIo for the rest.
Result<Fd> bind_unix(const std::string& path, mode_t mode);

// Binds and listens on "127.0.0.1:8080" or "[::1]:8080" (port 0: any free one). kInvalidConfig for an address
// that is malformed or not loopback.
Result<Fd> bind_loopback(std::string_view address);

// The port of a bound TCP socket.
Result<uint16_t> bound_port(const Fd& socket);
// Where a socket is bound, as the configuration writes it: "unix:/run/deepserve/api.sock", "127.0.0.1:8080",
// "[::1]:8080". Empty: nowhere of these.
std::string bound_address(int socket);

// Whether a descriptor is a socket that listens.
bool is_listening(int socket);

// Prepares a socket that was inherited: non-blocking, close-on-exec. kIo when it does not listen.
Result<void> adopt_listener(const Fd& socket);

}  // namespace deepserve::daemon
