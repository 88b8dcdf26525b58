// Accepts connections on any number of listening sockets and owns them until they end.
//
//   HttpServer server(loop, HttpLimits{});
//   Router api_routes;
//   api.add_routes(api_routes);
//   TRY(server.listen(std::move(socket), api_routes));
//   TRY(server.listen(std::move(control_socket), control_routes, Audience::kOperators));
//
// A Router (and what its routes use) outlives the server. Destroying the server drops every connection at
// once: its running requests are forgotten.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/http/authorize.h"
#include "daemon/http/handed_connection.h"
#include "daemon/http/judge.h"
#include "daemon/http/limits.h"
#include "daemon/http/router.h"
#include "daemon/loop/loop.h"
#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

class Connection;

// What a request's head passes.
struct Gate {
  Authorize authorize;  // may be empty
  Judge judge;          // may be empty
};

// Whom a socket is for: which of the caps in HttpLimits holds for its connections.
enum class Audience : uint8_t { kClients, kOperators };

// For the metrics: totals since the start, but connections_open.
struct HttpCounters {
  uint64_t connections_open = 0;
  uint64_t connections_total = 0;
  uint64_t connections_refused_total = 0;     // over the cap
  uint64_t accept_failures_total = 0;         // EMFILE and the like
  uint64_t malformed_total = 0;               // answered 4xx by the HTTP layer itself
  uint64_t unauthorized_total = 0;            // without a key that is known, where one is needed
  uint64_t timeouts_total = 0;                // 408
  uint64_t hang_ups_total = 0;                // clients that left while their request ran
  uint64_t slow_readers_total = 0;            // reset for not reading
  std::array<uint64_t, 6> responses_total{};  // by first digit of the status
};

class HttpServer {
 public:
  HttpServer(Loop& loop, HttpLimits limits);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Takes a socket that is bound and listening. Connections are counted, and capped, for each Router by
  // itself: however many clients there are, an operator still gets through. Without `authorize` everyone who
  // can connect may ask; without `judge` every request reaches its route.
  Result<void> listen(Fd socket, const Router& router, Audience audience = Audience::kClients,
                      Authorize authorize = {}, Judge judge = {});
  // Closes the listening sockets; connections go on.
  void stop_accepting();
  // Closes one of listening(), which no longer is one of them. Of its connections the idle ones go, the
  // others after the answer that they are at.
  void stop_listening(int socket);
  // How many clients may be connected from now on; who is, stays.
  void limit_connections(size_t connections_max);
  // From now on the cgroup of who connects is looked up too (peer.h).
  void ask_cgroups() { asks_cgroups_ = true; }
  // Stops accepting, closes idle connections, and every other one after the answer that it is at. `done` is
  // called once, from the loop, when none is left.
  void begin_drain(std::function<void()> done);
  // Drops whatever is left, unsent bytes included.
  void close_all();

  // For an upgrade in place (DESIGN 10), in this order: hold(); stays() from time to time; hand_over(). Held,
  // it accepts and reads nothing; answers go on. Until release().
  void hold();
  void release();
  // A request whose answer cannot go on in another process ("POST /tokenize"), or a connection that no
  // listener there is like; empty: there is none.
  std::string stays() const;
  // Their sockets, in the order of listen().
  std::vector<int> listening() const;
  // Every connection as it is now, but those of stays(). They stay here as well: if nobody takes them over,
  // release() goes on with them.
  std::vector<HandedConnection> hand_over();
  // Goes on with these, after listen() was called for all of their listeners. Owns their descriptors from
  // here on. kInvalidRequest, and nothing is taken, for a listener that there is not or a descriptor that is
  // no socket.
  Result<void> take_over(const std::vector<HandedConnection>& handed);

  size_t connections() const { return connections_.size(); }
  const HttpCounters& counters() const { return counters_; }

 private:
  friend class Connection;
  struct Listener {
    Fd socket;
    const Router* router = nullptr;
    Audience audience = Audience::kClients;
    size_t connections_max = 0;
    size_t tcp_connections_max = 0;
    bool is_unix = false;
    const Gate* gate = nullptr;
    std::unique_ptr<Poll> poll;
  };

  void accept_from(Listener& listener);
  void add_connection(Fd socket, const Listener& listener);
  Connection& insert(Fd socket, const Listener& listener, Peer peer);
  void refuse(Fd socket);
  void count_unauthorized();
  void pause_accepting();
  void mark_dirty(Connection& connection);
  void flush_dirty();
  void remove(Connection& connection);
  void bury_dead();
  void sweep();
  void check_drained();
  std::optional<uint32_t> listener_like(const Connection& connection) const;
  uint64_t next_request_id();

  Loop& loop_;
  HttpLimits limits_;
  HttpCounters counters_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::deque<Gate> gates_;  // of all listeners there ever were: connections outlive theirs
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::unordered_map<const Router*, size_t> open_;      // connections
  std::unordered_map<const Router*, size_t> open_tcp_;  // of these, over TCP
  std::vector<std::unique_ptr<Connection>> dead_;       // destroyed once no callback of theirs can be running
  std::vector<Connection*> dirty_;
  std::vector<Connection*> flushing_;
  bool flush_deferred_ = false;
  bool burial_deferred_ = false;
  bool draining_ = false;
  bool held_ = false;
  bool asks_cgroups_ = false;
  std::function<void()> drained_;
  size_t bodies_bytes_ = 0;
  uint64_t request_ids_ = 0;
  uint64_t unauthorized_told_ns_ = 0;
  std::string scratch_;                 // every read lands here first
  std::unique_ptr<Timer> sweep_timer_;  // runs while there are connections
  std::unique_ptr<Timer> accept_timer_;
  // Deferred functions outlive a destroyed server by a turn; they look here first.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace deepserve::daemon
