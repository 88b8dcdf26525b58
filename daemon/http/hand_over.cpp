// A server's connections, from one process to the next.
#include <sys/socket.h>

#include "daemon/http/connection.h"
#include "daemon/http/error_response.h"
#include "daemon/http/listener.h"
#include "daemon/http/server.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

bool is_stream_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

// As a client could have sent it.
std::string bytes_of(const HttpRequest& request) {
  std::string bytes = request.method + ' ' + request.path;
  if (!request.query.empty()) bytes += '?' + request.query;
  bytes += request.http_1_0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.fields) {
    if (name == "transfer-encoding" || name == "content-length") continue;
    bytes += name + ": " + value + "\r\n";
  }
  if (!request.body.empty()) bytes += "content-length: " + std::to_string(request.body.size()) + "\r\n";
  return bytes + "\r\n" + request.body;
}

}  // namespace

bool Connection::can_be_handed_over() const {
  // Without a responder it is within its route at this moment.
  if (state_ != State::kRunning || complete_) return true;
  return responder_ && (responder_->to_ask_again() != nullptr || responder_->hand_over().has_value());
}

HandedConnection Connection::hand_over() {
  fill();
  HandedConnection handed;
  handed.fd = socket_.get();
  handed.peer = peer_;
  handed.served = served_;
  handed.half_closed = half_closed_;
  handed.continue_told = continue_told_;
  handed.since_ns = since_ns_;
  handed.body_since_ns = body_since_ns_;
  handed.write_since_ns = write_since_ns_;
  handed.lingered_bytes = lingered_bytes_;
  handed.linger_bytes_max = linger_bytes_max_;
  handed.unsent = output_.unsent();
  if (parser_) handed.received = parser_->replay();
  handed.received += input_;
  handed.close_after = close_after_;
  if (state_ == State::kLingering) handed.phase = HandedPhase::kLingering;
  if (state_ != State::kRunning) return handed;
  if (const auto* request = complete_ ? nullptr : responder_->to_ask_again()) {
    handed.received.insert(0, bytes_of(*request));
    return handed;
  }
  handed.phase = HandedPhase::kAnswering;
  handed.request_id = request_id_;
  handed.method = request_.method;
  handed.path = request_.path;
  handed.http_1_0 = request_.http_1_0;
  handed.begun = begun_;
  handed.streaming = streaming_;
  handed.complete = complete_;
  if (!complete_) handed.answer = responder_->hand_over().value();
  return handed;
}

void Connection::take_over(const HandedConnection& handed) {
  served_ = handed.served;
  continue_told_ = handed.continue_told;
  close_after_ = handed.close_after;
  lingered_bytes_ = handed.lingered_bytes;
  linger_bytes_max_ = handed.linger_bytes_max;
  output_.bytes() = handed.unsent;
  switch (handed.phase) {
    case HandedPhase::kReceiving:
      take(handed.received);
      // A request that was whole already is as new; of the others the time goes on.
      if (state_ > State::kBody) break;
      body_since_ns_ = handed.body_since_ns;
      since_ns_ = handed.since_ns;
      break;
    case HandedPhase::kAnswering:
      take_over_answer(handed);
      break;
    case HandedPhase::kLingering:
      state_ = State::kLingering;
      since_ns_ = handed.since_ns;
      break;
    case HandedPhase::kCount:
      break;
  }
  if (state_ == State::kClosed) return;
  server_.mark_dirty(*this);
  update_watch();
}

void Connection::take_over_answer(const HandedConnection& handed) {
  state_ = State::kRunning;
  request_.method = handed.method;
  request_.path = handed.path;
  request_.http_1_0 = handed.http_1_0;
  request_.peer = peer_;
  request_id_ = handed.request_id;
  half_closed_ = handed.half_closed;
  begun_ = handed.begun;
  streaming_ = handed.streaming;
  complete_ = handed.complete;
  since_ns_ = handed.since_ns;
  write_since_ns_ = handed.write_since_ns;
  input_ = handed.received;
  if (complete_) return;
  responder_ = router_.resume(*this, handed.answer);
  if (responder_ || complete_) return;
  // Nobody here can go on with it. A client must not take what it has for the whole answer.
  if (begun_) {
    complete_ = close_after_ = true;
    return;
  }
  respond(error_response({Code::kInternal, "the answer was lost in an upgrade of the server"}, {}));
}

void Connection::on_held() {
  if (state_ == State::kIdle && !server_.held_) take(std::exchange(input_, {}));
  if (state_ == State::kClosed) return;
  server_.mark_dirty(*this);
  update_watch();
}

void HttpServer::hold() {
  held_ = true;
  accept_timer_->stop();
  for (const auto& listener : listeners_) listener->poll->watch(kNone);
  for (const auto& [key, connection] : connections_) key->on_held();
}

void HttpServer::release() {
  held_ = false;
  for (const auto& listener : listeners_) listener->poll->watch(kReadable);
  std::vector<Connection*> all;
  for (const auto& [key, connection] : connections_) all.push_back(key);
  for (Connection* connection : all) connection->on_held();
}

std::string HttpServer::stays() const {
  for (const auto& [key, connection] : connections_) {
    if (!key->can_be_handed_over()) return key->request().method + " " + key->request().path;
    if (!listener_like(*key)) return "a connection of a listener that is gone";
  }
  return {};
}

// Its own, or where that is gone one with the same routes and the same rights.
std::optional<uint32_t> HttpServer::listener_like(const Connection& connection) const {
  std::optional<uint32_t> like;
  for (uint32_t i = 0; i < listeners_.size(); ++i) {
    const Listener& one = *listeners_[i];
    if (one.gate == &connection.gate_) return i;
    const bool is_like = one.router == &connection.router_ && one.is_unix == connection.is_unix_;
    if (is_like && !like) like = i;
  }
  return like;
}

std::vector<int> HttpServer::listening() const {
  std::vector<int> sockets;
  for (const auto& listener : listeners_) sockets.push_back(listener->socket.get());
  return sockets;
}

std::vector<HandedConnection> HttpServer::hand_over() {
  std::vector<HandedConnection> all;
  for (const auto& [key, connection] : connections_) {
    if (!connection->can_be_handed_over()) continue;
    const auto listener = listener_like(*connection);
    if (!listener) continue;
    auto handed = connection->hand_over();
    handed.listener = *listener;
    all.push_back(std::move(handed));
  }
  return all;
}

Result<void> HttpServer::take_over(const std::vector<HandedConnection>& handed) {
  for (const auto& one : handed) {
    if (one.listener >= listeners_.size() || !is_stream_socket(one.fd)) {
      return fail(Code::kInvalidRequest, "descriptor {} of listener {} is no connection", one.fd,
                  one.listener);
    }
  }
  for (const auto& one : handed) {
    insert(Fd(one.fd), *listeners_[one.listener], one.peer).take_over(one);
  }
  return {};
}

}  // namespace deepserve::daemon
