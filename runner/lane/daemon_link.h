// A runner's tie to its dsd, from one life of dsd to the next: the lane, the socket whose hang-up is dsd's
// death, and the rendezvous where the next dsd knocks (ipc/lane/rendezvous.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipc/lane/lane.h"
#include "ipc/lane/rendezvous.h"

namespace deepserve::runner {

struct DaemonLinkOptions {
  std::vector<std::string> command;   // what the next dsd compares with its configuration
  Fd rendezvous = {};                 // none: nobody can come anew
  Fd group = {};                      // memory of the rank group, for the next dsd; none: one process
  ipc::ProcessIdentity process = {};  // ours
  std::function<void(ipc::Lane&)> on_lane = {};  // a new lane takes the place of the one that goes now
};

class DaemonLink {
 public:
  // `supervisor_fd` is borrowed, -1: none, dsd never goes.
  DaemonLink(std::unique_ptr<ipc::Lane> lane, int supervisor_fd, DaemonLinkOptions options = {})
      : lane_(std::move(lane)), supervisor_fd_(supervisor_fd), options_(std::move(options)) {}

  enum class Change : uint8_t {
    kNone,
    kLost,     // dsd is gone: what it had sent is still in the lane
    kAdopted,  // another one is there, with a lane of its own
  };
  // To be called often; a few system calls at most, never blocks.
  Change look();

  // The lane of the dsd that is there, or of the one that is gone.
  ipc::Lane& lane() { return *lane_; }
  bool attached() const { return detached_since_ns_ == 0; }
  bool may_be_adopted() const { return static_cast<bool>(options_.rendezvous); }
  // How long there has been no dsd; 0 while there is one.
  uint64_t detached_ns() const;
  // A dsd that only became another program knocks within moments, and one that has knocked hands over its
  // lane at once: what is computed meanwhile would only hold it up, on cores that it may need, and no one
  // could hear of it. True for kReturn_ns after dsd went, and as long after a knock.
  static constexpr uint64_t kReturn_ns = 50'000'000;
  bool expects_daemon() const;
  // Until something comes, from dsd or from the next one, or the time is over. Spins first while there is
  // one.
  void wait(uint64_t spin_ns, uint64_t timeout_ns);

 private:
  void greet();
  bool take_lane();
  void drop_candidate(std::string_view why);

  std::unique_ptr<ipc::Lane> lane_;
  int supervisor_fd_;
  DaemonLinkOptions options_;
  Fd supervisor_;            // of a dsd that came anew
  Fd candidate_;             // has our hello, and has not sent its lane
  uint64_t greeted_ns_ = 0;  // when it got that
  uint64_t detached_since_ns_ = 0;
};

// True when the other end of the socket is closed. -1 never is.
bool hung_up(int socket_fd);

}  // namespace deepserve::runner
