// Who is at the other end of a socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve::daemon {

// The peer, and as which client it showed itself: kept in each of its requests' records.
struct Peer {
  int64_t pid = -1;
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool known = false;           // false for TCP peers
  std::string key_client = {};  // the configured client whose API key the request showed; empty: none
  std::string cgroup = {};      // "/user.slice/..."; empty: not asked for, or not known
};

// By what the kernel says of a connected Unix socket: pid, uid and gid of the process that connected, as they
// were then. Of a TCP socket nothing is known.
//
// `with_cgroup`: also that process' cgroup, read once, now. Its pid names another process if it has ended
// since and the pid was used again: where the kernel has SO_PEERPIDFD (6.5), a cgroup that was read while the
// process was found to be there is told, and no other. Older kernels cannot tell: whoever may connect could
// then be taken for what runs under its own former pid, and the uid, which no such thing changes, is what
// keeps others out. A connection that is handed on keeps the cgroup of who made it.
Peer peer_of(int socket, bool is_unix, bool with_cgroup);

// The path in the text of /proc/PID/cgroup: of the unified hierarchy ("0::/user.slice"), else of systemd's
// own
// ("1:name=systemd:/user.slice"). Empty: there is neither.
std::string cgroup_in(std::string_view text);

}  // namespace deepserve::daemon
