#include "daemon/http/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace deepserve::daemon {
namespace {

constexpr int kBacklog = 4096;

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalidConfig, "socket path '{}' is empty or longer than {} bytes", path,
                sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Removes a socket file that a dead process left behind.
Result<void> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return fail(Code::kConflict, "{} exists and is not a socket", path);
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail_errno("socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    return fail(Code::kConflict, "another process listens on {}", path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("removing the stale socket " + path);
  return {};
}

struct TcpAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Result<TcpAddress> tcp_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string host(text.substr(0, colon == text.npos ? 0 : colon));
  const std::string_view port_text = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, problem] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (problem != std::errc() || end != port_text.data() + port_text.size()) {
    return fail(Code::kInvalidConfig, "'{}' is not an address with a port, such as 127.0.0.1:8080", text);
  }
  TcpAddress address;
  if (host.starts_with('[') && host.ends_with(']')) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size = sizeof v6;
    if (::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6.sin6_addr) == 1 &&
        IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) {
      return address;
    }
  } else {
    if (host == "localhost") host = "127.0.0.1";
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size = sizeof v4;
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1 && (ntohl(v4.sin_addr.s_addr) >> 24) == 127) {
      return address;
    }
  }
  return fail(Code::kInvalidConfig, "'{}' is not an address of this host's loopback", text);
}

}  // namespace

Result<Fd> bind_unix(const std::string& path, mode_t mode) {
  TRY_ASSIGN(const sockaddr_un address, unix_address(path));
  TRY(remove_stale(path, address));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  const mode_t old_mask = ::umask(0777);  // nobody connects before the mode is right
  const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(old_mask);
  if (bound != 0) return fail_errno("binding " + path);
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("setting the mode of " + path);
  if (::listen(socket.get(), kBacklog) != 0) return fail_errno("listening on " + path);
  return socket;
}

Result<Fd> bind_loopback(std::string_view text) {
  TRY_ASSIGN(const TcpAddress address, tcp_address(text));
  Fd socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    return fail_errno("binding " + std::string(text));
  }
  if (::listen(socket.get(), kBacklog) != 0) return fail_errno("listening on " + std::string(text));
  return socket;
}

Result<uint16_t> bound_port(const Fd& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return fail_errno("getsockname");
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return fail(Code::kIo, "the socket has no port");
}

std::string bound_address(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_UNIX) {
    const auto& address = reinterpret_cast<const sockaddr_un&>(storage);
    const size_t bytes = size - offsetof(sockaddr_un, sun_path);
    return "unix:" + std::string(address.sun_path, ::strnlen(address.sun_path, bytes));
  }
  char host[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return fmt::format("{}:{}", host, ntohs(v4.sin_port));
  }
  if (storage.ss_family != AF_INET6) return {};
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
  return fmt::format("[{}]:{}", host, ntohs(v6.sin6_port));
}

bool is_listening(int socket) {
  int listening = 0;
  socklen_t size = sizeof listening;
  return ::getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

Result<void> adopt_listener(const Fd& socket) {
  if (!is_listening(socket.get()))
    return fail(Code::kIo, "the inherited descriptor {} does not listen", socket.get());
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(socket.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return fail_errno("fcntl");
  }
  return {};
}

}  // namespace deepserve::daemon
