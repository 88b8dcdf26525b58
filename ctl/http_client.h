// HTTP/1.1 over a Unix socket, one exchange a connection, blocking. All of Boost.Beast is behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::ctl {

struct HttpRequest {
  std::string method = "GET";
  std::string path = {};
  std::string body = {};  // JSON; empty: none
  std::vector<std::pair<std::string, std::string>> headers = {};
};

struct HttpHead {
  unsigned status = 0;
  std::optional<uint64_t> retry_after_ms;  // of retry-after-ms, else of Retry-After
  bool retry_is_useless = false;           // x-should-retry: false
  std::string request_id;                  // X-Request-Id; empty: none
};

// How long a read may take and what ends it early.
struct WaitLimits {
  int interrupt_fd = -1;    // readable: the user wants no more
  int silence_max_ms = -1;  // without a byte from the daemon; -1: no limit
};

class HttpExchange {
 public:
  // Connects to the socket and sends the request.
  // kUnreachable: nobody listens there, or we may not connect. kUsage: the path is too long for a socket.
  static Result<HttpExchange> start(const std::string& socket_path, const HttpRequest& request,
                                    WaitLimits limits);
  HttpExchange(HttpExchange&&) noexcept;
  HttpExchange& operator=(HttpExchange&&) noexcept;
  ~HttpExchange();

  // The status line and headers. kUnreachable: the daemon hung up or stayed silent. kCancelled: interrupted.
  Result<HttpHead> read_head();
  // After read_head: the next piece of the body, empty at its end. kIo: the connection ended before the body
  // did.
  Result<std::string> read_some();

 private:
  struct State;
  explicit HttpExchange(std::unique_ptr<State> state);
  Result<void> read_more();

  std::unique_ptr<State> state_;
};

}  // namespace deepserve::ctl
