// A Peer as bytes: with a request that its runner keeps, and with a connection that is handed over.
#pragma once

#include "daemon/http/peer.h"
#include "ipc/base/bytes.h"

namespace deepserve::daemon {

inline void put_peer(const Peer& peer, ByteWriter& out) {
  out.put(peer.pid);
  out.put(peer.uid);
  out.put(peer.gid);
  out.put(peer.known);
  out.put_string(peer.key_client);
  out.put_string(peer.cgroup);
}

// Leaves it to the caller to look at in.ok().
inline Peer get_peer(ByteReader& in) {
  Peer peer;
  peer.pid = in.get<int64_t>();
  peer.uid = in.get<uint32_t>();
  peer.gid = in.get<uint32_t>();
  peer.known = in.get<uint8_t>() != 0;
  peer.key_client = in.get_string();
  peer.cgroup = in.get_string();
  return peer;
}

}  // namespace deepserve::daemon
