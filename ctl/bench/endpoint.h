// Where the server under test listens: a Unix socket, or TCP without TLS.
#pragma once

#include <sys/socket.h>

#include <string>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::ctl::bench {

class Endpoint {
 public:
  // kUsage: the path is too long for a socket.
  static Result<Endpoint> unix_socket(const std::string& path);
  // "http://HOST[:PORT][/PREFIX]". The host's name is looked up here, once. kUsage: not such a URL (https is
  // refused by name); kUnreachable: there is no such host.
  static Result<Endpoint> url(const std::string& url);

  // A non-blocking socket whose connection is under way or complete. kUnreachable: nobody listens there.
  // kServerOverloaded: the queue of a Unix socket is full just now.
  Result<Fd> connect() const;

  const std::string& name() const { return name_; }      // for people
  const std::string& host() const { return host_; }      // for the Host header
  const std::string& prefix() const { return prefix_; }  // of every path: "" or "/something"

 private:
  sockaddr_storage address_{};
  socklen_t address_bytes_ = 0;
  std::string name_;
  std::string host_ = "localhost";
  std::string prefix_;
};

}  // namespace deepserve::ctl::bench
