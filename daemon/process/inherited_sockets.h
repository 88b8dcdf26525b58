// Listening sockets that systemd opened for us (sd_listen_fds(3)).
#pragma once

#include <string>
#include <vector>

#include "ipc/base/fd.h"

namespace deepserve::daemon {

struct InheritedSocket {
  std::string name;  // FileDescriptorName= of the socket unit: "api" or "ctl"
  Fd socket;
};

// Takes all of them and removes the variables that told of them. Empty where there are none.
std::vector<InheritedSocket> take_inherited_sockets();

}  // namespace deepserve::daemon
