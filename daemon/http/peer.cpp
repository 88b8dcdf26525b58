#include "daemon/http/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "ipc/base/fd.h"

namespace deepserve::daemon {
namespace {

#ifdef SO_PEERPIDFD
constexpr int kPeerPidfd = SO_PEERPIDFD;
#else
constexpr int kPeerPidfd = 77;  // newer than these headers
#endif

// None where the kernel has no such thing.
Fd pidfd_of_peer(int socket) {
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &size) != 0) return Fd();
  return Fd(pidfd);
}

bool has_ended(const Fd& pidfd) {
  pollfd state{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&state, 1, 0) != 0;
}

std::string cgroup_of(int64_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/cgroup";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  return size <= 0 ? std::string() : cgroup_in({text.data(), static_cast<size_t>(size)});
}

}  // namespace

std::string cgroup_in(std::string_view text) {
  std::string of_systemd;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    constexpr std::string_view kUnified = "0::";
    constexpr std::string_view kSystemd = ":name=systemd:";
    if (line.starts_with(kUnified)) return std::string(line.substr(kUnified.size()));
    if (const size_t at = line.find(kSystemd); at != std::string_view::npos) {
      of_systemd = line.substr(at + kSystemd.size());
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return of_systemd;
}

Peer peer_of(int socket, bool is_unix, bool with_cgroup) {
  Peer peer;
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (!is_unix || ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return peer;
  peer = {.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid, .known = true};
  if (!with_cgroup || peer.pid <= 0) return peer;
  const Fd pidfd = pidfd_of_peer(socket);
  auto cgroup = cgroup_of(peer.pid);
  if (!pidfd || !has_ended(pidfd)) peer.cgroup = std::move(cgroup);
  return peer;
}

}  // namespace deepserve::daemon
