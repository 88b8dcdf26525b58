#include "daemon/supervise/gpu_share.h"

#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using S = ShareState;
using E = ShareEvent;
using R = ShareRule;
constexpr size_t kStates = static_cast<size_t>(S::kCount);
constexpr size_t kEvents = static_cast<size_t>(E::kCount);
using Row = std::array<R, kEvents>;

// clang-format off
constexpr std::array<Row, kStates> kTable = {{
    // kShare        kOwn         kMpsReady   kMpsGone         kMpsGivenUp
    // kFault        kDrain       kReset      kEmptied
    // alone: the daemon of an earlier share may be there still
    {{R::kStartMps,  R::kIgnore,  R::kIgnore, R::kEndClients,  R::kIgnore,
      R::kIgnore,    R::kDrain,   R::kIgnore, R::kStopMps}},
    // waiting: its clients are those of an earlier dsd
    {{R::kIgnore,    R::kLeave,   R::kOpen,   R::kEndClients,  R::kTimeSlice,
      R::kEndClients, R::kDrain,  R::kIgnore, R::kIgnore}},
    // shared
    {{R::kIgnore,    R::kLeave,   R::kIgnore, R::kEndClients,  R::kTimeSlice,
      R::kEndClients, R::kDrain,  R::kIgnore, R::kIgnore}},
    // recycling
    {{R::kIgnore,    R::kLeave,   R::kIgnore, R::kIgnore,      R::kTimeSlice,
      R::kIgnore,    R::kDrain,   R::kIgnore, R::kRenewMps}},
    // time-sliced: a new configuration is a new trial
    {{R::kStartMps,  R::kLeave,   R::kIgnore, R::kIgnore,      R::kIgnore,
      R::kIgnore,    R::kDrain,   R::kIgnore, R::kIgnore}},
    // drained
    {{R::kIgnore,    R::kIgnore,  R::kIgnore, R::kEndLast,     R::kIgnore,
      R::kIgnore,    R::kIgnore,  R::kReopen, R::kStopMps}},
}};
// clang-format on
static_assert(kTable.size() == kStates && kTable[0].size() == kEvents);

}  // namespace

std::string_view share_state_name(ShareState state) {
  constexpr std::array<std::string_view, kStates> kNames = {"alone",     "waiting",     "shared",
                                                            "recycling", "time-sliced", "drained"};
  return kNames.at(static_cast<size_t>(state));
}

ShareRule share_rule(ShareState state, ShareEvent event) {
  CHECK(state < S::kCount && event < E::kCount);
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

ShareActions GpuShare::step(ShareEvent event) {
  if (event == E::kShare || event == E::kOwn) shared_ = event == E::kShare;
  if (event == E::kMpsReady) mps_ready_ = true;
  if (event == E::kMpsGone) mps_ready_ = false;
  if (event == E::kMpsGivenUp) mps_wanted_ = mps_ready_ = false;
  ShareActions actions;
  switch (share_rule(state_, event)) {
    case R::kIgnore:
      break;
    case R::kStartMps:
      state_ = mps_ready_ ? S::kShared : S::kWaiting;  // that of an earlier share is as good
      actions.start_mps = !mps_wanted_;
      actions.admit = mps_ready_;
      mps_wanted_ = true;
      break;
    case R::kOpen:
      state_ = S::kShared;
      actions.admit = true;
      break;
    case R::kEndClients:
      actions.end_clients = true;
      if (state_ != S::kAlone) state_ = S::kRecycling;
      break;
    case R::kRenewMps:
      state_ = S::kWaiting;
      actions.stop_mps = actions.start_mps = true;
      mps_ready_ = false;
      break;
    case R::kTimeSlice:
      state_ = S::kTimeSliced;
      actions.admit = true;
      break;
    case R::kLeave:
      actions.stop_mps = state_ == S::kWaiting && mps_wanted_;
      if (actions.stop_mps) mps_wanted_ = false;
      state_ = S::kAlone;
      actions.admit = true;
      break;
    case R::kStopMps:
      actions.stop_mps = mps_wanted_;
      mps_wanted_ = mps_ready_ = false;
      break;
    case R::kDrain:
      state_ = S::kDrained;
      actions.admit = true;
      break;
    case R::kEndLast:
      actions.end_clients = true;
      break;
    case R::kReopen:
      state_ = !shared_ ? S::kAlone : mps_ready_ ? S::kShared : S::kWaiting;
      actions.start_mps = state_ == S::kWaiting && !mps_wanted_;
      mps_wanted_ = mps_wanted_ || state_ == S::kWaiting;
      actions.admit = state_ != S::kWaiting;
      break;
    case R::kCount:
      CHECK(false);
  }
  return actions;
}

}  // namespace deepserve::daemon
