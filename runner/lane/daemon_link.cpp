#include "runner/lane/daemon_link.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "ipc/base/clock.h"
#include "ipc/lane/wake.h"

namespace deepserve::runner {

bool hung_up(int socket_fd) {
  if (socket_fd < 0) return false;
  pollfd entry{socket_fd, POLLRDHUP, 0};
  return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

DaemonLink::Change DaemonLink::look() {
  if (attached()) {
    if (!hung_up(supervisor_fd_)) return Change::kNone;
    detached_since_ns_ = std::max<uint64_t>(1, monotonic_ns());
    supervisor_fd_ = -1;
    supervisor_.reset();
    return Change::kLost;
  }
  if (!may_be_adopted()) return Change::kNone;
  if (!candidate_) greet();
  if (!candidate_ || !take_lane()) return Change::kNone;
  detached_since_ns_ = 0;
  return Change::kAdopted;
}

// Whoever knocks hears who we are.
void DaemonLink::greet() {
  candidate_ = ipc::accept_daemon(options_.rendezvous.get());
  if (!candidate_) return;
  ipc::RunnerHello hello;
  hello.epoch = lane_->epoch();
  hello.process = options_.process;
  hello.command = options_.command;
  greeted_ns_ = monotonic_ns();
  const auto sent = ipc::send_hello(candidate_.get(), hello, options_.group.get());
  if (!sent) drop_candidate(sent.error().message);
}

// True: it sent its lane, and that is in force.
bool DaemonLink::take_lane() {
  auto offered = ipc::receive_lane(candidate_.get());
  if (!offered) {
    drop_candidate(offered.error().message);
    return false;
  }
  if (!*offered) return false;
  if ((*offered)->epoch <= lane_->epoch()) {
    drop_candidate(fmt::format("its lane is of epoch {}, ours was {}", (*offered)->epoch, lane_->epoch()));
    return false;
  }
  auto lane = ipc::Lane::attach(std::move((*offered)->fds), ipc::Side::kRunner, (*offered)->epoch);
  if (lane && (*lane)->body_bytes_max() < lane_->body_bytes_max())
    lane = fail(Code::kBadLane, "its lane is smaller than the one that we had");
  if (!lane) {
    drop_candidate(lane.error().message);
    return false;
  }
  if (options_.on_lane) options_.on_lane(**lane);
  lane_ = std::move(*lane);
  supervisor_ = std::move(candidate_);
  supervisor_fd_ = supervisor_.get();
  return true;
}

void DaemonLink::drop_candidate(std::string_view why) {
  spdlog::warn("a daemon that wanted this runner is sent away: {}", why);
  candidate_.reset();
}

uint64_t DaemonLink::detached_ns() const {
  return attached() ? 0 : std::max<uint64_t>(1, monotonic_ns() - detached_since_ns_);
}

bool DaemonLink::expects_daemon() const {
  if (attached() || !may_be_adopted()) return false;
  return monotonic_ns() - (candidate_ ? greeted_ns_ : detached_since_ns_) < kReturn_ns;
}

void DaemonLink::wait(uint64_t spin_ns, uint64_t timeout_ns) {
  if (attached()) {
    lane_->wait(spin_ns, timeout_ns, supervisor_fd_);
    return;
  }
  // The lane's own descriptor is what SIGTERM writes to.
  const int other_fd = candidate_ ? candidate_.get() : options_.rendezvous.get();
  ipc::wait_readable(lane_->wake_fd(), other_fd, timeout_ns);
  lane_->disarm();
}

}  // namespace deepserve::runner
