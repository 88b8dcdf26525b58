#include "daemon/dispatch/request_state.h"

#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using S = RequestState;
using R = RequestRule;
constexpr size_t kStates = static_cast<size_t>(RequestState::kCount);
constexpr size_t kEvents = static_cast<size_t>(RequestEvent::kCount);
using Row = std::array<RequestCell, kEvents>;

constexpr RequestCell stays(S state) {
  return {state, R::kNothing};
}
constexpr RequestCell kBug{S::kEnded, R::kImpossible};
constexpr RequestCell kTaken{S::kDispatched, R::kGo};
constexpr RequestCell kIsAccepted{S::kAccepted, R::kTell};
constexpr RequestCell kStreams{S::kStreaming, R::kTell};
constexpr RequestCell kTold{S::kEnded, R::kTell};
constexpr RequestCell kReplayed{S::kQueued, R::kRequeue};
constexpr RequestCell kRefused{S::kEnded, R::kRefuse};
constexpr RequestCell kDropped{S::kEnded, R::kDrop};
constexpr RequestCell kLetGone{S::kCancelling, R::kCancel};
constexpr RequestCell kWaits = stays(S::kCancelling);
constexpr RequestCell kOver = stays(S::kEnded);

// clang-format off
constexpr std::array<Row, kStates> kTable = {{
    // kDispatch    kAccept      kDelta     kFinish                kFail
    // kRunnerDied  kRunnerLost  kLetGo     kExpire                kStop
    // queued
    {{kTaken,        kBug,        kBug,      kBug,                  kBug,
      kBug,          kRefused,    kDropped,  kRefused,              kRefused}},
    // dispatched
    {{kBug,          kIsAccepted, kBug,      kBug,                  kTold,
      kReplayed,     kRefused,    kLetGone,  stays(S::kDispatched), kRefused}},
    // accepted
    {{kBug,          kBug,        kStreams,  kTold,                 kTold,
      kReplayed,     kRefused,    kLetGone,  stays(S::kAccepted),   kRefused}},
    // streaming
    {{kBug,          kBug,        kStreams,  kTold,                 kTold,
      kReplayed,     kRefused,    kLetGone,  stays(S::kStreaming),  kRefused}},
    // cancelling
    {{kBug,          kWaits,      kWaits,    kDropped,              kDropped,
      kDropped,      kDropped,    kWaits,    kWaits,                kDropped}},
    // ended
    {{kBug,          kOver,       kOver,     kOver,                 kOver,
      kOver,         kOver,       kOver,     kOver,                 kOver}},
}};
// clang-format on
static_assert(kTable.size() == kStates && kTable[0].size() == kEvents);

}  // namespace

std::string_view request_state_name(RequestState state) {
  constexpr std::array<std::string_view, kStates> kNames = {"queued",    "dispatched", "accepted",
                                                            "streaming", "cancelling", "ended"};
  return kNames.at(static_cast<size_t>(state));
}

RequestCell request_cell(RequestState state, RequestEvent event) {
  CHECK(state < RequestState::kCount && event < RequestEvent::kCount);
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

}  // namespace deepserve::daemon
