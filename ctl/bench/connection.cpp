#include "ctl/bench/connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

Connection::Connection(const Endpoint& endpoint, Poller& poller, uint64_t token)
    : endpoint_(endpoint), poller_(poller), token_(token) {}

bool Connection::start(std::string request) {
  CHECK(phase_ == Phase::kIdle);
  is_reused_ = is_open();
  sent_ns_ = read_ns_ = 0;
  was_unreachable_ = false;
  why_.clear();
  reader_.restart();
  request_ = std::move(request);
  written_bytes_ = 0;
  phase_ = Phase::kSending;
  if (!is_reused_ && !open()) {
    if (phase_ == Phase::kLost) return true;
    phase_ = Phase::kIdle;
    return false;
  }
  write_some();
  return true;
}

// False: not now (still kSending), or never (kLost).
bool Connection::open() {
  auto socket = endpoint_.connect();
  if (!socket) {
    if (socket.error().code == Code::kServerOverloaded) return false;
    was_unreachable_ = true;
    lose("unreachable");
    return false;
  }
  socket_ = std::move(*socket);
  watches_writes_ = true;
  poller_.add(socket_.get(), EPOLLIN | EPOLLOUT, token_);
  return true;
}

Connection::Phase Connection::advance() {
  if (phase_ == Phase::kSending) write_some();
  if (phase_ == Phase::kSending || phase_ == Phase::kWaiting) read_some();
  return phase_;
}

void Connection::write_some() {
  while (written_bytes_ < request_.size()) {
    const ssize_t written = ::send(socket_.get(), request_.data() + written_bytes_,
                                   request_.size() - written_bytes_, MSG_NOSIGNAL);
    if (written >= 0) {
      if (sent_ns_ == 0) sent_ns_ = monotonic_ns();
      written_bytes_ += static_cast<size_t>(written);
    } else if (errno == EAGAIN || errno == ENOTCONN) {
      if (!std::exchange(watches_writes_, true)) poller_.change(socket_.get(), EPOLLIN | EPOLLOUT, token_);
      return;
    } else if (errno != EINTR) {
      // A server that refuses early may read no more: what it said is still to be read.
      if (sent_ns_ != 0 && !is_reused_) break;
      if (!send_again()) {
        was_unreachable_ = errno == ECONNREFUSED;
        lose(was_unreachable_ ? "unreachable" : "connection_lost");
      }
      return;
    }
  }
  phase_ = Phase::kWaiting;
  if (std::exchange(watches_writes_, false)) poller_.change(socket_.get(), EPOLLIN, token_);
}

void Connection::read_some() {
  static thread_local std::array<char, 64 * 1024> buffer;
  const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) return;
  if (size <= 0) {
    const bool was_refused = size < 0 && errno == ECONNREFUSED;
    if (!reader_.has_some() && send_again()) return;
    if (size == 0 && reader_.end_of_connection() == AnswerReader::State::kDone) {
      phase_ = Phase::kDone;
    } else {
      was_unreachable_ = was_refused;
      lose(was_refused ? "unreachable" : "connection_lost");
    }
    socket_.reset();
    return;
  }
  read_ns_ = monotonic_ns();
  const auto state = reader_.feed({buffer.data(), static_cast<size_t>(size)});
  if (state == AnswerReader::State::kBroken) return lose("not_http");
  if (state == AnswerReader::State::kDone) phase_ = Phase::kDone;
}

// The server has closed a connection that it had kept: the request goes over a new one.
bool Connection::send_again() {
  if (!std::exchange(is_reused_, false)) return false;
  socket_.reset();
  written_bytes_ = 0;
  phase_ = Phase::kSending;
  if (!open()) {
    if (phase_ != Phase::kLost) lose("no_connection");
    return true;
  }
  write_some();
  return true;
}

void Connection::lose(std::string why) {
  phase_ = Phase::kLost;
  why_ = std::move(why);
  socket_.reset();
}

void Connection::drop() {
  CHECK(phase_ == Phase::kIdle);
  socket_.reset();
}

void Connection::hang_up() {
  socket_.reset();
  phase_ = Phase::kIdle;
}

void Connection::release() {
  CHECK(phase_ == Phase::kDone || phase_ == Phase::kLost);
  const bool all_written = written_bytes_ == request_.size();
  if (phase_ == Phase::kLost || !all_written || !reader_.keeps_connection()) socket_.reset();
  phase_ = Phase::kIdle;
  request_.clear();
}

}  // namespace deepserve::ctl::bench
