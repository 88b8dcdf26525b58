#include "daemon/http/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/http/connection.h"
#include "daemon/http/error_response.h"
#include "daemon/http/listener.h"
#include "daemon/http/peer.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kScratch_bytes = 64 * 1024;
constexpr int kAcceptsPerTurn = 64;
constexpr uint64_t kAcceptPause_ms = 100;

bool is_unix_socket(const Fd& socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

// Tokens go out one by one: none of them waits for the next.
void send_at_once(const Fd& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

HttpServer::HttpServer(Loop& loop, HttpLimits limits)
    : loop_(loop), limits_(limits), scratch_(kScratch_bytes, '\0') {
  if (::getrandom(&request_ids_, sizeof request_ids_, 0) != sizeof request_ids_)
    request_ids_ = monotonic_ns();
  sweep_timer_ = std::make_unique<Timer>(loop, [this] { sweep(); });
  accept_timer_ = std::make_unique<Timer>(loop, [this] {
    for (const auto& listener : listeners_) listener->poll->watch(kReadable);
  });
}

HttpServer::~HttpServer() {
  *alive_ = false;
  close_all();
}

Result<void> HttpServer::listen(Fd socket, const Router& router, Audience audience, Authorize authorize,
                                Judge judge) {
  TRY(adopt_listener(socket));
  auto listener = std::make_unique<Listener>();
  Listener& made = *listener;
  made.socket = std::move(socket);
  made.router = &router;
  made.audience = audience;
  made.gate = &gates_.emplace_back(Gate{std::move(authorize), std::move(judge)});
  made.connections_max =
      audience == Audience::kOperators ? limits_.operator_connections_max : limits_.connections_max;
  made.tcp_connections_max =
      audience == Audience::kOperators ? made.connections_max : limits_.tcp_connections_max;
  made.is_unix = is_unix_socket(made.socket);
  made.poll = std::make_unique<Poll>(loop_, made.socket.get(), [this, &made](int, int error) {
    if (error == 0) accept_from(made);
  });
  made.poll->watch(kReadable);
  listeners_.push_back(std::move(listener));
  return {};
}

void HttpServer::accept_from(Listener& listener) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    Fd socket(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting();
      return;
    }
    const bool tcp_is_full = !listener.is_unix && open_tcp_[listener.router] >= listener.tcp_connections_max;
    if (tcp_is_full || open_[listener.router] >= listener.connections_max) {
      refuse(std::move(socket));
    } else {
      add_connection(std::move(socket), listener);
    }
  }
}

// The connections that are waiting stay in the backlog; the ones that end meanwhile make room.
void HttpServer::pause_accepting() {
  if (counters_.accept_failures_total++ == 0) {
    spdlog::warn(
        "cannot accept a connection ({}): no file descriptors left; further failures are only counted",
        errno);
  }
  for (const auto& listener : listeners_) listener->poll->watch(kNone);
  accept_timer_->start(kAcceptPause_ms);
}

void HttpServer::add_connection(Fd socket, const Listener& listener) {
  ++counters_.connections_total;
  if (!listener.is_unix) send_at_once(socket);
  auto peer = peer_of(socket.get(), listener.is_unix, asks_cgroups_);
  insert(std::move(socket), listener, std::move(peer));
}

Connection& HttpServer::insert(Fd socket, const Listener& listener, Peer peer) {
  if (connections_.empty()) sweep_timer_->start(limits_.sweep_ms, limits_.sweep_ms);
  auto connection = std::make_unique<Connection>(*this, std::move(socket), *listener.router, *listener.gate,
                                                 listener.is_unix, std::move(peer));
  Connection* key = connection.get();
  connections_.emplace(key, std::move(connection));
  ++open_[listener.router];
  if (!listener.is_unix) ++open_tcp_[listener.router];
  counters_.connections_open = connections_.size();
  return *key;
}

// Somebody may be guessing keys: the log says so, but not so often that it can be filled with it.
void HttpServer::count_unauthorized() {
  constexpr uint64_t kBetween_ns = 60 * kSecond_ns;
  ++counters_.unauthorized_total;
  const uint64_t now_ns = monotonic_ns();
  if (unauthorized_told_ns_ != 0 && now_ns - unauthorized_told_ns_ < kBetween_ns) return;
  unauthorized_told_ns_ = now_ns;
  spdlog::warn("a request over TCP came without a known API key; {} did so far",
               counters_.unauthorized_total);
}

// Best effort: whoever does not take this short answer at once sees the close alone.
void HttpServer::refuse(Fd socket) {
  ++counters_.connections_refused_total;
  const auto response = error_response({Code::kServerOverloaded, "too many connections"},
                                       {.reason = "connections", .retry_after_ms = 1000});
  const std::string text =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
      "retry-after-ms: 1000\r\nConnection: close\r\nContent-Length: " +
      std::to_string(response.body.size()) + "\r\n\r\n" + response.body;
  [[maybe_unused]] const auto sent =
      ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void HttpServer::mark_dirty(Connection& connection) {
  if (connection.dirty_ || connection.state_ == Connection::State::kClosed) return;
  connection.dirty_ = true;
  if (connection.at_hand_) return;
  dirty_.push_back(&connection);
  if (std::exchange(flush_deferred_, true)) return;
  loop_.defer([this, alive = alive_] {
    if (*alive) flush_dirty();
  });
}

void HttpServer::flush_dirty() {
  flush_deferred_ = false;
  flushing_.clear();
  std::swap(dirty_, flushing_);
  // A connection that closes meanwhile stays among the dead until the burial, which comes after this.
  for (Connection* connection : flushing_) connection->flush();
}

void HttpServer::remove(Connection& connection) {
  const auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  dead_.push_back(std::move(found->second));
  connections_.erase(found);
  --open_[&connection.router_];
  if (!connection.is_unix_) --open_tcp_[&connection.router_];
  counters_.connections_open = connections_.size();
  if (connections_.empty()) sweep_timer_->stop();
  if (std::exchange(burial_deferred_, true)) return;
  loop_.defer([this, alive = alive_] {
    if (*alive) bury_dead();
  });
}

void HttpServer::bury_dead() {
  burial_deferred_ = false;
  std::erase_if(
      dirty_, [](const Connection* connection) { return connection->state_ == Connection::State::kClosed; });
  dead_.clear();
  check_drained();
}

void HttpServer::sweep() {
  const uint64_t now_ns = monotonic_ns();
  std::vector<Connection*> all;
  all.reserve(connections_.size());
  for (const auto& [key, connection] : connections_) all.push_back(key);
  for (Connection* connection : all) connection->sweep(now_ns);
}

void HttpServer::stop_accepting() {
  accept_timer_->stop();
  listeners_.clear();
}

void HttpServer::stop_listening(int socket) {
  const auto found = std::find_if(listeners_.begin(), listeners_.end(),
                                  [socket](const auto& one) { return one->socket.get() == socket; });
  CHECK(found != listeners_.end());
  const Gate* gate = (*found)->gate;
  listeners_.erase(found);
  std::vector<Connection*> its;
  for (const auto& [key, connection] : connections_) {
    if (&connection->gate_ == gate) its.push_back(key);
  }
  for (Connection* connection : its) connection->drain();
}

void HttpServer::limit_connections(size_t connections_max) {
  limits_.connections_max = connections_max;
  for (const auto& listener : listeners_) {
    if (listener->audience == Audience::kClients) listener->connections_max = connections_max;
  }
}

void HttpServer::begin_drain(std::function<void()> done) {
  stop_accepting();
  draining_ = true;
  drained_ = std::move(done);
  std::vector<Connection*> all;
  for (const auto& [key, connection] : connections_) all.push_back(key);
  for (Connection* connection : all) connection->drain();
  loop_.defer([this, alive = alive_] {
    if (*alive) check_drained();
  });
}

void HttpServer::check_drained() {
  if (draining_ && connections_.empty() && drained_) std::exchange(drained_, nullptr)();
}

void HttpServer::close_all() {
  stop_accepting();
  while (!connections_.empty()) connections_.begin()->first->close();
}

uint64_t HttpServer::next_request_id() {
  // splitmix64: ids that do not look like each other, none of them 0.
  uint64_t id = request_ids_ += 0x9e3779b97f4a7c15;
  id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9;
  id = (id ^ (id >> 27)) * 0x94d049bb133111eb;
  id ^= id >> 31;
  return id != 0 ? id : next_request_id();
}

}  // namespace deepserve::daemon
