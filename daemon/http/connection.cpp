#include "daemon/http/connection.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <ctime>

#include "daemon/http/error_response.h"
#include "daemon/http/json_text.h"
#include "daemon/http/server.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kBufferKept_bytes = 16 * 1024;  // an output buffer that may stay while a request runs
constexpr int kFlushesAtOnce = 16;               // of pipelined requests, before it is others' turn

// For the Date field; formatted once a second.
std::string_view http_date() {
  static std::time_t formatted = 0;
  static char text[40];
  const std::time_t now = std::time(nullptr);
  if (now != formatted) {
    formatted = now;
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  }
  return text;
}

// A field's value may quote a client: nothing in it may end the line.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  for (const char c : value) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  out += "\r\n";
}

bool elapsed(uint64_t now_ns, uint64_t since_ns, uint64_t limit_ms) {
  return now_ns > since_ns && now_ns - since_ns > limit_ms * kMillisecond_ns;
}

}  // namespace

Connection::Connection(HttpServer& server, Fd socket, const Router& router, const Gate& gate, bool is_unix,
                       Peer peer)
    : server_(server),
      router_(router),
      gate_(gate),
      socket_(std::move(socket)),
      is_unix_(is_unix),
      since_ns_(monotonic_ns()),
      linger_bytes_max_(server.limits_.linger_bytes_max),
      peer_(std::move(peer)) {
  poll_ = std::make_unique<Poll>(server.loop_, socket_.get(),
                                 [this](int readiness, int error) { on_ready(readiness, error); });
  update_watch();
}

Connection::~Connection() {
  release_body();
}

void Connection::on_ready(int readiness, int error) {
  if (state_ == State::kClosed) return;
  at_hand_ = true;
  take_ready(readiness, error);
  for (int i = 0; dirty_ && state_ != State::kClosed && i < kFlushesAtOnce; ++i) flush();
  at_hand_ = false;
  if (std::exchange(dirty_, false)) server_.mark_dirty(*this);
}

void Connection::take_ready(int readiness, int error) {
  if (error != 0) {
    peer_ended();
    if (state_ != State::kClosed) close();
    return;
  }
  if ((readiness & kWritable) != 0) {
    write_blocked_ = false;
    server_.mark_dirty(*this);
  }
  if ((readiness & kReadable) != 0) {
    read();
  } else if ((readiness & kHungUp) != 0) {
    peer_ended();
  }
  update_watch();
}

void Connection::read() {
  std::string& scratch = server_.scratch_;
  const ssize_t count = ::recv(socket_.get(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) peer_ended();
    return;
  }
  if (count == 0) return peer_ended();
  const std::string_view bytes(scratch.data(), static_cast<size_t>(count));
  if (state_ == State::kLingering) {
    lingered_bytes_ += bytes.size();
    if (lingered_bytes_ > linger_bytes_max_) close();
  } else if (state_ == State::kRunning) {
    input_.append(bytes);
  } else {
    take(bytes);
  }
}

// The client sends no more, or is gone altogether.
void Connection::peer_ended() {
  if (state_ == State::kRunning && is_unix_ && !has_hung_up()) {
    half_closed_ = true;  // the sweep looks after it from here on: polling would report the same end for ever
    return;
  }
  if (state_ == State::kRunning && !complete_) ++server_.counters_.hang_ups_total;
  close();
}

bool Connection::has_hung_up() const {
  pollfd probe{.fd = socket_.get(), .events = 0, .revents = 0};
  return ::poll(&probe, 1, 0) > 0 && (probe.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

// Parses until a request is complete; what follows it waits in input_.
void Connection::take(std::string_view bytes) {
  while (!bytes.empty() && state_ <= State::kBody) {
    if (!parser_) parser_ = std::make_unique<RequestParser>(server_.limits_);
    const auto taken = parser_->feed(bytes);
    if (!taken) return reject(taken.error());
    bytes.remove_prefix(*taken);
    after_feed();
  }
  if (state_ == State::kRunning) input_.append(bytes);
}

void Connection::after_feed() {
  const uint64_t now_ns = monotonic_ns();
  if (state_ == State::kIdle && !parser_->untouched()) {
    state_ = State::kHead;
    since_ns_ = now_ns;
  }
  const size_t body_bytes = parser_->body_bytes();
  server_.bodies_bytes_ += body_bytes - counted_body_bytes_;
  counted_body_bytes_ = body_bytes;
  if (auto admitted = admit_head(); !admitted) return reject(admitted.error());
  if (parser_->complete()) return dispatch();
  if (refusal_ && !awaits_refused_body()) return answer_and_close(std::move(*refusal_));
  if (server_.bodies_bytes_ > server_.limits_.bodies_bytes_max) {
    return reject({Code::kServerOverloaded, "too many request bodies are being received at once"});
  }
  if (!parser_->head_done()) return;
  if (state_ == State::kHead && parser_->expects_continue() && body_bytes == 0 &&
      !std::exchange(continue_told_, true)) {
    output_.bytes() += "HTTP/1.1 100 Continue\r\n\r\n";
    server_.mark_dirty(*this);
  }
  if (state_ != State::kBody) body_since_ns_ = now_ns;
  state_ = State::kBody;
  since_ns_ = now_ns;
}

// Once for each request, as soon as its head is there: who may not ask is told so before the body is
// received.
Result<void> Connection::admit_head() {
  if (!parser_->head_done() || std::exchange(authorized_, true)) return {};
  if (gate_.authorize) {
    TRY_ASSIGN(peer_.key_client, gate_.authorize(parser_->head(), is_unix_));
  }
  if (gate_.judge) refusal_ = gate_.judge(parser_->head(peer_));
  return {};
}

// Whether the body of a refused request is short enough to wait for, so that the connection can go on.
bool Connection::awaits_refused_body() const {
  const auto* length = parser_->head().field("content-length");
  uint64_t bytes = 0;
  if (length == nullptr || parser_->expects_continue()) return false;
  const auto [end, problem] = std::from_chars(length->data(), length->data() + length->size(), bytes);
  return problem == std::errc() && end == length->data() + length->size() &&
         bytes <= server_.limits_.refused_wait_bytes;
}

void Connection::dispatch() {
  request_ = parser_->take();
  request_.peer = peer_;
  parser_.reset();
  authorized_ = continue_told_ = false;
  served_ = true;
  release_body();
  state_ = State::kRunning;
  since_ns_ = write_since_ns_ = monotonic_ns();
  request_id_ = server_.next_request_id();
  begun_ = streaming_ = complete_ = false;
  close_after_ = close_after_ || !request_.keep_alive || server_.draining_;
  if (refusal_) {
    respond(std::move(*std::exchange(refusal_, std::nullopt)));
  } else {
    responder_ = router_.dispatch(*this);
  }
  CHECK(begun_ || responder_);
  request_.body = std::string();
}

// Answers what is not a request, and ends the connection: nobody knows where the next request would begin.
void Connection::reject(const Error& error) {
  const int status = error_row(error.code).http_status;
  if (status == 408) ++server_.counters_.timeouts_total;
  if (status == 401) {
    server_.count_unauthorized();
  } else if (status != 408 && status != 503) {
    ++server_.counters_.malformed_total;
  }
  answer_and_close(error_response(error, {.retry_after_ms = status == 503 ? uint64_t{1000} : 0}));
}

// While a request is being received: its rest is discarded after the answer.
void Connection::answer_and_close(HttpResponse response) {
  if (refusal_) linger_bytes_max_ = server_.limits_.refused_bytes_max;
  parser_.reset();
  refusal_.reset();
  release_body();
  request_ = HttpRequest{};
  responder_.reset();
  state_ = State::kRunning;
  since_ns_ = write_since_ns_ = monotonic_ns();
  request_id_ = server_.next_request_id();
  begun_ = streaming_ = complete_ = false;
  close_after_ = true;
  respond(std::move(response));
}

void Connection::respond(HttpResponse response) {
  CHECK(!begun_);
  close_after_ = close_after_ || response.close;
  write_head(response, true);
  if (request_.method != "HEAD") output_.bytes() += response.body;
  begun_ = complete_ = true;
  server_.mark_dirty(*this);
}

void Connection::start_stream(HttpResponse head) {
  CHECK(!begun_);
  // HTTP/1.0 knows no chunks: there the body ends with the connection.
  close_after_ = close_after_ || head.close || request_.http_1_0;
  write_head(head, false);
  begun_ = true;
  streaming_ = request_.method != "HEAD";
  complete_ = !streaming_;
  server_.mark_dirty(*this);
}

void Connection::wake() {
  server_.mark_dirty(*this);
}

void Connection::write_head(const HttpResponse& response, bool has_length) {
  ++server_.counters_.responses_total[static_cast<size_t>(response.status / 100) % 6];
  std::string& out = output_.bytes();
  if (out.empty()) write_since_ns_ = monotonic_ns();
  out += "HTTP/1.1 ";
  append_number(out, static_cast<uint64_t>(response.status));
  out += ' ';
  out += reason_phrase(response.status);
  out += "\r\n";
  append_field(out, "Date", http_date());
  append_field(out, "Content-Type", response.content_type);
  append_field(out, "X-Request-Id", hex16(request_id_));
  for (const auto& [name, value] : response.fields) append_field(out, name, value);
  if (has_length) {
    append_field(out, "Content-Length", std::to_string(response.body.size()));
  } else if (!request_.http_1_0) {
    append_field(out, "Transfer-Encoding", "chunked");
  }
  append_field(out, "Connection", close_after_ ? "close" : "keep-alive");
  out += "\r\n";
}

void Connection::flush() {
  dirty_ = false;
  if (state_ == State::kClosed || state_ == State::kLingering) return;
  const bool had_room = has_room();
  if (had_room) fill();
  if (!send_some()) return;
  if (!had_room && has_room()) server_.mark_dirty(*this);  // for what the responder was not asked just now
  if (state_ == State::kRunning && complete_ && output_.unsent_bytes() == 0) finish_exchange();
  update_watch();
}

// False when the client is too far behind already.
bool Connection::has_room() const {
  return output_.unsent_bytes() < server_.limits_.unsent_bytes_max;
}

// Asks the responder for what it has.
void Connection::fill() {
  if (state_ != State::kRunning || !streaming_ || complete_) return;
  if (output_.unsent_bytes() == 0) write_since_ns_ = monotonic_ns();
  const bool chunked = !request_.http_1_0;
  if (chunked) output_.begin_chunk();
  complete_ = responder_->produce(output_.bytes());
  if (!chunked) return;
  output_.end_chunk();
  if (complete_) output_.end_chunks();
}

// False when the connection ended.
bool Connection::send_some() {
  if (output_.unsent_bytes() == 0 || write_blocked_) return true;
  const auto bytes = output_.unsent();
  const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) {
      write_blocked_ = true;
      return true;
    }
    if (state_ == State::kRunning && !complete_) ++server_.counters_.hang_ups_total;
    close();
    return false;
  }
  write_blocked_ = static_cast<size_t>(count) < bytes.size();
  output_.mark_sent(static_cast<size_t>(count));
  output_.shrink(kBufferKept_bytes);
  write_since_ns_ = monotonic_ns();
  return true;
}

void Connection::finish_exchange() {
  responder_.reset();
  request_ = HttpRequest{};
  output_.shrink(0);
  if (close_after_ || server_.draining_) return begin_linger();
  state_ = State::kIdle;
  since_ns_ = monotonic_ns();
  half_closed_ = false;
  if (!server_.held_) take(std::exchange(input_, {}));
}

void Connection::begin_linger() {
  if (half_closed_ || ::shutdown(socket_.get(), SHUT_WR) != 0) return close();
  state_ = State::kLingering;
  since_ns_ = monotonic_ns();
  input_ = std::string();
}

void Connection::drain() {
  close_after_ = true;
  if (state_ == State::kIdle) close();
}

void Connection::sweep(uint64_t now_ns) {
  const HttpLimits& limits = server_.limits_;
  switch (state_) {
    case State::kIdle:
      if (elapsed(now_ns, since_ns_,
                  is_unix_ || served_ ? limits.idle_timeout_ms : limits.tcp_first_head_ms)) {
        close();
      }
      break;
    case State::kHead:
      if (elapsed(now_ns, since_ns_, limits.head_timeout_ms)) {
        reject({Code::kRequestTimeout, "the request's head did not arrive in time"});
      }
      break;
    case State::kBody:
      if (refusal_ && elapsed(now_ns, body_since_ns_, limits.linger_ms)) {
        answer_and_close(std::move(*refusal_));
      } else if (elapsed(now_ns, since_ns_, limits.body_timeout_ms)) {
        reject({Code::kRequestTimeout, "the request's body stopped arriving"});
      } else if (elapsed(now_ns, body_since_ns_, limits.body_total_ms)) {
        reject({Code::kRequestTimeout, "the request's body did not arrive in time"});
      }
      break;
    case State::kRunning:
      if (half_closed_ && has_hung_up()) {
        peer_ended();
      } else if (output_.unsent_bytes() != 0 && elapsed(now_ns, write_since_ns_, limits.write_timeout_ms)) {
        ++server_.counters_.slow_readers_total;
        spdlog::info("request {}: {}: the client took nothing for {} ms", hex16(request_id_),
                     error_row(Code::kSlowReader).name, limits.write_timeout_ms);
        reset();
      } else if (responder_) {
        responder_->tick(now_ns);
      }
      break;
    case State::kLingering:
      if (elapsed(now_ns, since_ns_, limits.linger_ms)) close();
      break;
    case State::kClosed:
      break;
  }
  if (state_ != State::kClosed) update_watch();
}

void Connection::release_body() {
  server_.bodies_bytes_ -= counted_body_bytes_;
  counted_body_bytes_ = 0;
}

void Connection::update_watch() {
  if (state_ == State::kClosed) return;
  // The same from one request to the next: each change costs up to three system calls.
  int wanted = kHungUp | kReadable;
  if (state_ == State::kRunning) {
    if (input_.size() >= server_.limits_.pipelined_bytes_max) wanted = kHungUp;
    if (half_closed_) wanted = kNone;
  }
  if (server_.held_) wanted &= ~kReadable;
  if (output_.unsent_bytes() != 0 && write_blocked_) wanted |= kWritable;
  if (wanted == watched_) return;
  watched_ = wanted;
  poll_->watch(wanted);
}

// The client sees a reset where the transport has one: what it got so far is not a complete answer.
void Connection::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  if (!is_unix_) ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void Connection::close() {
  state_ = State::kClosed;
  poll_.reset();
  socket_.reset();
  responder_.reset();
  parser_.reset();
  release_body();
  server_.remove(*this);
}

}  // namespace deepserve::daemon
