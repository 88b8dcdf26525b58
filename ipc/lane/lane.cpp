#include "ipc/lane/lane.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include "ipc/lane/lane_side.h"

namespace deepserve::ipc {
namespace {

Result<Fd> make_eventfd() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail_errno("eventfd");
  return fd;
}

Result<Fd> duplicate(const Fd& fd) {
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("duplicating a lane's descriptor");
  return copy;
}

}  // namespace

Result<LaneFds> create_lane_with(const LaneSizes& sizes, uint64_t epoch, uint32_t features) {
  LaneFds fds;
  TRY_ASSIGN(fds.to_runner, create_direction(sizes, features, Direction::kToRunner, epoch));
  TRY_ASSIGN(fds.to_daemon, create_direction(sizes, features, Direction::kToDaemon, epoch));
  TRY_ASSIGN(fds.runner_wake, make_eventfd());
  TRY_ASSIGN(fds.daemon_wake, make_eventfd());
  return fds;
}

Result<LaneFds> create_lane(const LaneSizes& sizes, uint64_t epoch) {
  return create_lane_with(sizes, epoch, 0);
}

Result<LaneFds> duplicate(const LaneFds& fds) {
  LaneFds copy;
  TRY_ASSIGN(copy.to_runner, duplicate(fds.to_runner));
  TRY_ASSIGN(copy.to_daemon, duplicate(fds.to_daemon));
  TRY_ASSIGN(copy.runner_wake, duplicate(fds.runner_wake));
  TRY_ASSIGN(copy.daemon_wake, duplicate(fds.daemon_wake));
  return copy;
}

Result<std::unique_ptr<Lane>> Lane::attach(LaneFds fds, Side side, uint64_t epoch_expected) {
  TRY_ASSIGN(std::unique_ptr<Lane> lane, LaneSide::attach_side(std::move(fds), side, epoch_expected));
  return lane;
}

}  // namespace deepserve::ipc
