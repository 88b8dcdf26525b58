// Who may start on one GPU, and when its MPS daemon is started, recycled and ended: a table of state x event
// (DESIGN 10). Pure. The daemon's process itself is supervised as a runner's is, by supervise/supervision.
//
// MPS is no fault isolation: where one client faults or the daemon goes, all clients are ended first, then a
// fresh daemon comes, then they are started anew.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve::daemon {

enum class ShareState : uint8_t {
  kAlone,       // no MPS for who starts now. Not: that no client of an earlier share is left
  kWaiting,     // it is shared, and its MPS daemon does not answer yet: who wants to start waits
  kShared,      // its MPS daemon answers: who starts is its client
  kRecycling,   // its clients are being ended; then comes a fresh MPS daemon
  kTimeSliced,  // it is shared, and there is no MPS: runners take turns
  kDrained,     // nobody starts until an operator says so
  kCount
};
std::string_view share_state_name(ShareState state);

enum class ShareEvent : uint8_t {
  kShare,       // the configuration was read: it is shared
  kOwn,         // the configuration was read: one runner has it
  kMpsReady,    // its MPS daemon answers
  kMpsGone,     // the process of its MPS daemon has ended, and was not to
  kMpsGivenUp,  // there is no such program, or it dies again and again
  kFault,       // a client's fault is one for all clients
  kDrain,       // a fault of the GPU itself
  kReset,       // an operator's word
  kEmptied,     // the last client is gone
  kCount
};

enum class ShareRule : uint8_t {
  kIgnore,
  kStartMps,    // start a daemon; who wants to start waits
  kOpen,        // who waits starts
  kEndClients,  // all clients are restarted, once they and the daemon are gone
  kRenewMps,    // no client is left: a fresh daemon
  kTimeSlice,   // who waits starts, without MPS
  kLeave,       // who starts now has it alone; the daemon ends with its last client
  kStopMps,     // no client is left and none will come
  kDrain,       // who waits fails
  kEndLast,     // drained already, and its daemon is gone: its clients end for good
  kReopen,      // as the configuration says
  kCount
};

ShareRule share_rule(ShareState state, ShareEvent event);

// What the owner must do, in this order.
struct ShareActions {
  bool end_clients = false;
  bool stop_mps = false;   // and, unless start_mps says so too, none comes after it
  bool start_mps = false;  // where one ends still: once it is gone
  bool admit = false;      // who waits asks again
};

class GpuShare {
 public:
  ShareActions step(ShareEvent event);

  // Before the first event: a daemon of an earlier dsd is there, which answers or not.
  void adopt_mps() { mps_wanted_ = true; }

  ShareState state() const { return state_; }
  // Whether who starts now is a client of MPS.
  bool uses_mps() const { return state_ == ShareState::kShared; }
  // Whether there is a daemon, or one is on its way.
  bool has_mps() const { return mps_wanted_; }
  bool may_start() const {
    return state_ == ShareState::kAlone || state_ == ShareState::kShared || state_ == ShareState::kTimeSliced;
  }
  // The daemon must not be started while clients of the last one are there.
  bool may_start_mps() const { return state_ != ShareState::kRecycling; }

 private:
  ShareState state_ = ShareState::kAlone;
  bool shared_ = false;      // the configuration's word
  bool mps_wanted_ = false;  // it was started and not stopped since
  bool mps_ready_ = false;
};

}  // namespace deepserve::daemon
