// The sockets that dsd listens on: made, given by systemd, or left by the program that it takes the place of.
#pragma once

#include <vector>

#include "daemon/config/config.h"
#include "daemon/upgrade/handed_state.h"
#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

struct ListeningSocket {
  ListenerKind kind = ListenerKind::kApi;
  Fd socket;
  bool inherited = false;  // the service manager's, which keeps it
};

// In the order in which HttpServer hears of them.
Result<std::vector<ListeningSocket>> open_sockets(const Config& config);

// What another configuration takes: sockets that are made already, and descriptors that are to be closed.
struct SocketChange {
  std::vector<ListeningSocket> opened;
  std::vector<int> closed;
};
// `held`: what is listened on. All or nothing: kConflict or kIo where one cannot be made, kNotSupported for
// another Unix socket where they are the service manager's.
Result<SocketChange> change_sockets(const Config& before, const Config& after,
                                    const std::vector<HandedListener>& held);

// The file of a Unix socket that is about to be closed; nothing where it is none.
void remove_socket_file(int socket);

// Owns the descriptors from here on; kIo, and they stay the caller's, when one does not listen.
Result<std::vector<ListeningSocket>> take_over_sockets(const std::vector<HandedListener>& handed);

}  // namespace deepserve::daemon
