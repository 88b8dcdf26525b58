#include "ctl/http_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "ctl/interrupt.h"
#include "ipc/base/fd.h"

namespace deepserve::ctl {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr int kSend_timeout_s = 30;

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Fd> connect_to(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return fail(Code::kUsage, "{}: longer than the {} bytes that a socket's path may have", socket_path,
                sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket");
  // A daemon that hangs must not hang us: the limit holds for connecting and for each write.
  const timeval limit{.tv_sec = kSend_timeout_s, .tv_usec = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  const char* hint = errno == ENOENT || errno == ECONNREFUSED ? "is dsd running?"
                     : errno == EACCES                        ? "may this user talk to it?"
                                                              : "it does not answer";
  return fail(Code::kUnreachable, "daemon not reachable at {}: {} ({})", socket_path, std::strerror(errno),
              hint);
}

std::string serialize(const HttpRequest& request) {
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: dsctl/{}\r\nConnection: close\r\n",
                  request.method, request.path, DEEPSERVE_VERSION);
  for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (!request.body.empty()) text += "Content-Type: application/json\r\n";
  if (request.method != "GET") text += fmt::format("Content-Length: {}\r\n", request.body.size());
  return text + "\r\n" + request.body;
}

// A daemon that refuses early may stop reading: its answer is what counts then, so hanging up is no failure
// here.
Result<void> send_all(const Fd& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};
    } else if (errno == EAGAIN) {
      return fail(Code::kUnreachable, "the daemon has taken nothing for {} s", kSend_timeout_s);
    } else if (errno != EINTR) {
      return fail_errno("sending to the daemon");
    }
  }
  return {};
}

}  // namespace

struct HttpExchange::State {
  Fd socket;
  WaitLimits limits;
  http::response_parser<http::string_body> parser;
  std::string unparsed;
  bool closed = false;
};

HttpExchange::HttpExchange(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpExchange::HttpExchange(HttpExchange&&) noexcept = default;
HttpExchange& HttpExchange::operator=(HttpExchange&&) noexcept = default;
HttpExchange::~HttpExchange() = default;

Result<HttpExchange> HttpExchange::start(const std::string& socket_path, const HttpRequest& request,
                                         WaitLimits limits) {
  auto state = std::make_unique<State>();
  state->limits = limits;
  state->parser.eager(true);
  state->parser.body_limit(boost::none);
  TRY_ASSIGN(state->socket, connect_to(socket_path));
  TRY(send_all(state->socket, serialize(request)));
  return HttpExchange(std::move(state));
}

Result<HttpHead> HttpExchange::read_head() {
  while (!state_->parser.is_header_done()) {
    if (state_->closed) return fail(Code::kUnreachable, "the daemon closed the connection without an answer");
    TRY(read_more());
  }
  const auto& message = state_->parser.get();
  HttpHead head;
  head.status = message.result_int();
  head.request_id = std::string(message["X-Request-Id"]);
  head.retry_after_ms = parse_number(message["retry-after-ms"]);
  if (!head.retry_after_ms) {
    constexpr uint64_t kSeconds_max = UINT64_MAX / 1000;
    const auto seconds = parse_number(message["Retry-After"]);
    if (seconds && *seconds <= kSeconds_max) head.retry_after_ms = *seconds * 1000;
  }
  head.retry_is_useless = message["x-should-retry"] == "false";
  return head;
}

Result<std::string> HttpExchange::read_some() {
  auto& body = state_->parser.get().body();
  while (body.empty() && !state_->parser.is_done()) {
    if (state_->closed)
      return fail(Code::kIo, "the daemon closed the connection in the middle of its answer");
    TRY(read_more());
  }
  return std::exchange(body, {});
}

// Waits for bytes and feeds them to the parser; at the end of the connection sets `closed`.
Result<void> HttpExchange::read_more() {
  State& state = *state_;
  switch (wait_readable(state.socket.get(), state.limits.interrupt_fd, state.limits.silence_max_ms)) {
    case Ready::kInterrupted:
      return fail(Code::kCancelled, "interrupted");
    case Ready::kTimeout:
      return fail(Code::kUnreachable, "the daemon has not answered for {} s",
                  state.limits.silence_max_ms / 1000);
    case Ready::kReadable:
      break;
  }
  std::array<char, 16 * 1024> buffer;
  const ssize_t size = ::recv(state.socket.get(), buffer.data(), buffer.size(), 0);
  if (size < 0 && errno == EINTR) return {};
  error_code error;
  if (size <= 0) {
    state.closed = true;
    if (state.parser.got_some()) state.parser.put_eof(error);
    return {};
  }
  state.unparsed.append(buffer.data(), static_cast<size_t>(size));
  while (!state.unparsed.empty() && !state.parser.is_done()) {
    const size_t used = state.parser.put(boost::asio::buffer(state.unparsed), error);
    state.unparsed.erase(0, used);
    if (error == http::error::need_more) break;
    if (error) return fail(Code::kIo, "the daemon's answer is not HTTP: {}", error.message());
  }
  return {};
}

}  // namespace deepserve::ctl
