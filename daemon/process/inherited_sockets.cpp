#include "daemon/process/inherited_sockets.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>

namespace deepserve::daemon {

std::vector<InheritedSocket> take_inherited_sockets() {
  std::vector<InheritedSocket> sockets;
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    sockets.push_back({names[i], Fd(SD_LISTEN_FDS_START + i)});
    std::free(names[i]);
  }
  std::free(names);
  return sockets;
}

}  // namespace deepserve::daemon
