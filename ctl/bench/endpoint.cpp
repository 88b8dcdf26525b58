#include "ctl/bench/endpoint.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "ctl/bench/number_text.h"

namespace deepserve::ctl::bench {

Result<Endpoint> Endpoint::unix_socket(const std::string& path) {
  Endpoint endpoint;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Code::kUsage, "{}: longer than the {} bytes that a socket's path may have", path,
                sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  std::memcpy(&endpoint.address_, &address, sizeof address);
  endpoint.address_bytes_ = sizeof address;
  endpoint.name_ = path;
  return endpoint;
}

Result<Endpoint> Endpoint::url(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  std::string_view rest = url;
  if (rest.starts_with("https://")) return fail(Code::kUsage, "--url: TLS is not supported: {}", url);
  if (!rest.starts_with(kScheme)) return fail(Code::kUsage, "--url: \"{}\" does not start with http://", url);
  rest.remove_prefix(kScheme.size());
  Endpoint endpoint;
  const size_t slash = rest.find('/');
  endpoint.host_ = rest.substr(0, slash);
  if (slash != std::string_view::npos) endpoint.prefix_ = rest.substr(slash);
  while (endpoint.prefix_.ends_with('/')) endpoint.prefix_.pop_back();
  std::string host = endpoint.host_;
  std::string port = "80";
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  TRY(integer_between("--url: the port", port, 1, 65535));
  if (host.empty()) return fail(Code::kUsage, "--url: \"{}\" names no host", url);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found);
  if (error != 0) return fail(Code::kUnreachable, "{}: {}", host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::memcpy(&endpoint.address_, found->ai_addr, found->ai_addrlen);
  endpoint.address_bytes_ = found->ai_addrlen;
  endpoint.name_ = url;
  return endpoint;
}

Result<Fd> Endpoint::connect() const {
  Fd socket(::socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  if (address_.ss_family != AF_UNIX) {
    const int yes = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  }
  const auto* address = reinterpret_cast<const sockaddr*>(&address_);
  if (::connect(socket.get(), address, address_bytes_) == 0 || errno == EINPROGRESS) return socket;
  if (errno == EAGAIN) return fail(Code::kServerOverloaded, "{}: its queue of connections is full", name_);
  return fail(Code::kUnreachable, "server not reachable at {}: {}", name_, std::strerror(errno));
}

}  // namespace deepserve::ctl::bench
