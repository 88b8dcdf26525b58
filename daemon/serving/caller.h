// Who asks, as the configuration knows clients.
#pragma once

#include "daemon/config/config.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// Borrows from `peer`.
inline Caller caller_of(const Peer& peer) {
  return {peer.known, peer.uid, peer.gid, peer.key_client, peer.cgroup};
}

}  // namespace deepserve::daemon
