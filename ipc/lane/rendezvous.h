// How a runner that has lost its dsd gets a new one (DESIGN 5, 10): the listening Unix socket that it
// inherits, and what the two say to each other there.
//
//   dsd     connects; the runner accepts when its own dsd is gone, and checks the uid (SO_PEERCRED)
//   runner  hello: ABI, epoch, pid and start time, its command line; with it the memory of its rank group
//   dsd     a fresh lane of a higher epoch: its four descriptors (SCM_RIGHTS); or it closes, or kills
//
// From there on the connection is the supervisor socket: its hang-up is the death of that dsd. Whoever hears
// trusts nothing: messages are bounded, decoded once, and a wrong number of descriptors is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipc/lane/lane.h"
#include "ipc/lane/layout.h"
#include "ipc/lane/process_identity.h"

namespace deepserve::ipc {

inline constexpr int kRendezvousFd = 9;  // where a runner inherits it; not open: it ends with its dsd

struct RunnerHello {
  uint16_t abi_major = kAbiMajor;
  uint16_t abi_minor = kAbiMinor;
  uint64_t epoch = 0;  // of the lane that it had
  ProcessIdentity process;
  std::vector<std::string> command;  // without the program's name

  std::vector<std::byte> encode() const;
  static Result<RunnerHello> decode(std::span<const std::byte> body);
};

// dsd: a socket at `path`, for a runner to inherit. The directory must be there and ours alone.
Result<Fd> listen_at_rendezvous(const std::string& path);
// dsd: kUnreachable when nobody listens there any more.
Result<Fd> connect_to_rendezvous(const std::string& path);
// Runner: none when nobody has knocked; a connection of another user is closed and is none.
Fd accept_daemon(int rendezvous_fd);

// Runner; `group_fd` -1: the model is not spread.
Result<void> send_hello(int connection, const RunnerHello& hello, int group_fd);
struct Introduction {
  RunnerHello hello;
  Fd group;  // none: the model is not spread
};
// dsd; nothing: it has not spoken yet. kRunnerLost: it hung up. kBadLane: it lies, or another ABI.
Result<std::optional<Introduction>> receive_hello(int connection);

// dsd.
Result<void> send_lane(int connection, uint64_t epoch, const LaneFds& fds);
struct OfferedLane {
  uint64_t epoch = 0;
  LaneFds fds;
};
// Runner; nothing: not yet. kRunnerLost: dsd hung up.
Result<std::optional<OfferedLane>> receive_lane(int connection);

}  // namespace deepserve::ipc
