// One client's connection: reads requests one after the other, has each answered by a route, writes the
// answers.
//
// idle -> head -> body -> running -> idle ..., or from anywhere -> lingering -> closed. Pipelined requests
// wait, unparsed, until the answer before theirs has been written out. Between requests a connection holds no
// buffers.
//
// A client that ends its side while its request runs: on a Unix socket the kernel tells a client that is gone
// (POLLHUP) from one that only finished sending (shutdown, as `nc -N` does); the latter still gets its
// answer. On TCP the two look alike and both count as gone, as in most servers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/http/handed_connection.h"
#include "daemon/http/limits.h"
#include "daemon/http/output_buffer.h"
#include "daemon/http/request_parser.h"
#include "daemon/http/router.h"
#include "daemon/loop/loop.h"
#include "ipc/base/fd.h"

namespace deepserve::daemon {

class HttpServer;
struct Gate;

class Connection final : public Exchange {
 public:
  // The router and the gate are borrowed.
  Connection(HttpServer& server, Fd socket, const Router& router, const Gate& gate, bool is_unix, Peer peer);
  ~Connection();

  // Goes on where another process has left off. Once, before anything else; writes and reads nothing yet.
  void take_over(const HandedConnection& handed);
  // Whether its answer, if it is at one, can go on in another process.
  bool can_be_handed_over() const;
  // All of it. What its responder has ready is taken first, however much is unsent.
  HandedConnection hand_over();
  // The server holds its reading, or does no more.
  void on_held();

  // Writes what there is; one send. Called by the server before the loop sleeps, for each dirty connection;
  // an answer to what was just read goes out at once, without another turn of the loop.
  void flush();
  // Looks at the timeouts.
  void sweep(uint64_t now_ns);
  // Ends when idle, else after the present answer.
  void drain();

  const HttpRequest& request() const override { return request_; }
  uint64_t request_id() const override { return request_id_; }
  void set_request_id(uint64_t id) override { request_id_ = id; }
  void respond(HttpResponse response) override;
  void start_stream(HttpResponse head) override;
  void wake() override;
  void close_after() override { close_after_ = true; }

 private:
  friend class HttpServer;
  enum class State : uint8_t { kIdle, kHead, kBody, kRunning, kLingering, kClosed };

  void on_ready(int readiness, int error);
  void take_ready(int readiness, int error);
  void read();
  void take(std::string_view bytes);
  void take_over_answer(const HandedConnection& handed);
  void after_feed();
  Result<void> admit_head();
  bool awaits_refused_body() const;
  void dispatch();
  void reject(const Error& error);
  void answer_and_close(HttpResponse response);
  void peer_ended();
  void fill();
  bool has_room() const;
  bool send_some();
  void finish_exchange();
  void begin_linger();
  void write_head(const HttpResponse& response, bool has_length);
  void release_body();
  void update_watch();
  void close();
  void reset();
  bool has_hung_up() const;

  HttpServer& server_;
  const Router& router_;
  const Gate& gate_;
  Fd socket_;
  std::unique_ptr<Poll> poll_;
  int watched_ = 0;
  State state_ = State::kIdle;
  const bool is_unix_;
  bool dirty_ = false;
  bool at_hand_ = false;      // it is flushed as soon as what it is ready for was taken
  bool half_closed_ = false;  // the client sends no more but reads on
  bool write_blocked_ = false;
  bool authorized_ = false;     // the present request's head was looked at
  bool served_ = false;         // a request has been let through
  bool continue_told_ = false;  // the client was asked for the present request's body
  // The present answer.
  bool begun_ = false;
  bool streaming_ = false;
  bool complete_ = false;
  bool close_after_ = false;
  uint64_t since_ns_ = 0;        // of the state: began, or made its last progress
  uint64_t body_since_ns_ = 0;   // the head was complete
  uint64_t write_since_ns_ = 0;  // the last time that the client took a byte, or that there was none for it
  size_t lingered_bytes_ = 0;
  size_t linger_bytes_max_ = 0;
  size_t counted_body_bytes_ = 0;
  uint64_t request_id_ = 0;
  Peer peer_;
  std::unique_ptr<RequestParser> parser_;  // of the request that is being received
  std::optional<HttpResponse> refusal_;    // of that request, on its head
  HttpRequest request_;
  std::unique_ptr<Responder> responder_;
  std::string input_;  // received and not parsed: pipelined requests
  OutputBuffer output_;
};

}  // namespace deepserve::daemon
