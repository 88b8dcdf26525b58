#include "daemon/process/inherited_sockets.h"

#include <cstdlib>

#include "daemon/process/libsystemd.h"

namespace deepserve::daemon {

Result<std::vector<InheritedSocket>> take_inherited_sockets() {
  std::vector<InheritedSocket> sockets;
  if (std::getenv("LISTEN_FDS") == nullptr) return sockets;
  const auto& library = libsystemd();
  if (!library) {
    return fail(Code::kNotSupported, "sockets come from systemd (LISTEN_FDS), but {}",
                library.error().message);
  }
  char** names = nullptr;
  const int count = library->listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    sockets.push_back({names[i], Fd(SD_LISTEN_FDS_START + i)});
    std::free(names[i]);
  }
  std::free(names);
  return sockets;
}

}  // namespace deepserve::daemon
