// A server and its clients in one thread: the test turns the loop until what it waits for has happened, or
// fails.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "daemon/http/listener.h"
#include "daemon/http/server.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

inline constexpr uint64_t kWaitMax_ns = 20 * kSecond_ns;

// Turns the loop until `happened`; false when that takes too long.
inline bool pump_until(Loop& loop, const std::function<bool()>& happened) {
  const uint64_t end_ns = monotonic_ns() + kWaitMax_ns;
  while (monotonic_ns() < end_ns) {
    uv_run(loop.uv(), UV_RUN_NOWAIT);
    if (happened()) return true;
    const int timeout_ms = uv_backend_timeout(loop.uv());
    pollfd backend{.fd = uv_backend_fd(loop.uv()), .events = POLLIN, .revents = 0};
    ::poll(&backend, 1, timeout_ms < 0 || timeout_ms > 5 ? 5 : timeout_ms);
  }
  return false;
}

// Turns the loop a few times: for what must not happen.
inline void pump_some(Loop& loop) {
  for (int i = 0; i < 10; ++i) uv_run(loop.uv(), UV_RUN_NOWAIT);
}

struct Answer {
  int status = 0;
  std::map<std::string, std::string> fields;  // names in lower case
  std::string body;                           // chunks put together
  bool complete = false;
  size_t bytes = 0;  // of the input, when complete
};

// Takes the first answer out of `text`; what is there of it, if it is not complete.
inline Answer parse_answer(const std::string& text, bool has_body = true) {
  Answer answer;
  const size_t head_end = text.find("\r\n\r\n");
  if (head_end == std::string::npos) return answer;
  size_t at = text.find("\r\n") + 2;
  answer.status = std::atoi(text.substr(9, 3).c_str());
  while (at < head_end) {
    const size_t end = text.find("\r\n", at);
    const size_t colon = text.find(':', at);
    std::string name = text.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    answer.fields[name] = text.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  at = head_end + 4;
  if (answer.status == 100 || !has_body) {
    answer.complete = true;
    answer.bytes = at;
  } else if (answer.fields.contains("content-length")) {
    const size_t length = std::stoul(answer.fields["content-length"]);
    answer.body = text.substr(at, length);
    answer.complete = answer.body.size() == length;
    answer.bytes = at + length;
  } else {
    for (;;) {
      const size_t line_end = text.find("\r\n", at);
      if (line_end == std::string::npos) return answer;
      const size_t size = std::stoul(text.substr(at, line_end - at), nullptr, 16);
      if (text.size() < line_end + 2 + size + 2) return answer;
      answer.body += text.substr(line_end + 2, size);
      at = line_end + 2 + size + 2;
      if (size != 0) continue;
      answer.complete = true;
      answer.bytes = at;
      return answer;
    }
  }
  return answer;
}

// A client whose socket never blocks.
class Client {
 public:
  Client(Loop& loop, const std::string& path)
      : loop_(loop), socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    CHECK(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  Client(Loop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

  // Sends everything, letting the server read meanwhile; false when it does not take it.
  bool send(std::string_view text) {
    return pump_until(loop_,
                      [&] {
                        const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
                        if (sent > 0) text.remove_prefix(static_cast<size_t>(sent));
                        broken_ = broken_ || (sent < 0 && errno != EAGAIN);
                        return text.empty() || broken_;
                      }) &&
           text.empty();
  }
  void receive() {
    char buffer[65536];
    ssize_t count = 0;
    while ((count = ::recv(socket_.get(), buffer, sizeof buffer, 0)) > 0) {
      received_.append(buffer, static_cast<size_t>(count));
    }
    ended_ = ended_ || count == 0 || (count < 0 && errno != EAGAIN);
  }
  // The next whole answer, taken out of what was received; status 0 when it does not come.
  Answer answer(bool has_body = true) {
    Answer parsed;
    pump_until(loop_, [&] {
      receive();
      parsed = parse_answer(received_, has_body);
      return parsed.complete || ended_;
    });
    if (!parsed.complete) return {};
    received_.erase(0, parsed.bytes);
    return parsed;
  }
  // What there is of an answer that is not complete, once its body contains `text`.
  Answer part(const std::string& text) {
    Answer parsed;
    const bool found = pump_until(loop_, [&] {
      receive();
      parsed = parse_answer(received_);
      return parsed.body.find(text) != std::string::npos;
    });
    return found ? parsed : Answer{};
  }
  bool waits_for_end() {
    return pump_until(loop_, [&] {
      receive();
      return ended_;
    });
  }
  // Whatever has arrived by now.
  const std::string& received() {
    pump_some(loop_);
    receive();
    return received_;
  }
  void finish_sending() { ::shutdown(socket_.get(), SHUT_WR); }
  void hang_up() { socket_.reset(); }
  int fd() const { return socket_.get(); }
  bool ended() const { return ended_; }

 private:
  Loop& loop_;
  Fd socket_;
  std::string received_;
  bool ended_ = false;
  bool broken_ = false;
};

// A directory for sockets that goes with the test.
class SocketFolder {
 public:
  SocketFolder() {
    char name[] = "/tmp/deepserve-test-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~SocketFolder() {
    ::unlink(socket().c_str());
    ::rmdir(path_.c_str());
  }
  std::string socket() const { return path_ + "/s"; }

 private:
  std::string path_;
};

// A server with routes on a Unix socket.
class TestServer {
 public:
  explicit TestServer(HttpLimits limits = {}) : server(loop, limits) {
    auto socket = bind_unix(folder.socket(), 0600);
    CHECK(socket);
    CHECK(server.listen(std::move(*socket), router));
  }
  Client connect() { return Client(loop, folder.socket()); }

  SocketFolder folder;
  Loop loop;
  Router router;
  HttpServer server;
};

inline std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}
inline std::string post(const std::string& path, const std::string& body, const std::string& fields = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace deepserve::daemon
