#include "daemon/dispatch/request_state.h"

#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using S = RequestState;
using R = RequestRule;
constexpr size_t kStates = static_cast<size_t>(S::kCount);
constexpr size_t kEvents = static_cast<size_t>(RequestEvent::kCount);
using Row = std::array<RequestCell, kEvents>;

constexpr RequestCell kBug{S::kEnded, R::kImpossible};

// clang-format off
constexpr std::array<Row, kStates> kTable = {{
  //  kDispatch                    kAccept                       kDelta                        kFinish                 kFail
  //  kRunnerDied                  kRunnerLost                   kLetGo                        kExpire                 kStop
  Row{{{S::kDispatched, R::kGo},   kBug,                         kBug,                         kBug,                   kBug,
       kBug,                       {S::kEnded, R::kRefuse},      {S::kEnded, R::kDrop},        {S::kEnded, R::kRefuse}, {S::kEnded, R::kRefuse}}},  // queued
  Row{{kBug,                       {S::kAccepted, R::kTell},     kBug,                         kBug,                   {S::kEnded, R::kTell},
       {S::kQueued, R::kRequeue},  {S::kEnded, R::kRefuse},      {S::kCancelling, R::kCancel}, {S::kDispatched, R::kNothing}, {S::kEnded, R::kRefuse}}},  // dispatched
  Row{{kBug,                       kBug,                         {S::kStreaming, R::kTell},    {S::kEnded, R::kTell},  {S::kEnded, R::kTell},
       {S::kQueued, R::kRequeue},  {S::kEnded, R::kRefuse},      {S::kCancelling, R::kCancel}, {S::kAccepted, R::kNothing}, {S::kEnded, R::kRefuse}}},  // accepted
  Row{{kBug,                       kBug,                         {S::kStreaming, R::kTell},    {S::kEnded, R::kTell},  {S::kEnded, R::kTell},
       {S::kQueued, R::kRequeue},  {S::kEnded, R::kRefuse},      {S::kCancelling, R::kCancel}, {S::kStreaming, R::kNothing}, {S::kEnded, R::kRefuse}}},  // streaming
  Row{{kBug,                       {S::kCancelling, R::kNothing}, {S::kCancelling, R::kNothing}, {S::kEnded, R::kDrop}, {S::kEnded, R::kDrop},
       {S::kEnded, R::kDrop},      {S::kEnded, R::kDrop},        {S::kCancelling, R::kNothing}, {S::kCancelling, R::kNothing}, {S::kEnded, R::kDrop}}},  // cancelling
  Row{{kBug,                       {S::kEnded, R::kNothing},     {S::kEnded, R::kNothing},     {S::kEnded, R::kNothing}, {S::kEnded, R::kNothing},
       {S::kEnded, R::kNothing},   {S::kEnded, R::kNothing},     {S::kEnded, R::kNothing},     {S::kEnded, R::kNothing}, {S::kEnded, R::kNothing}}},  // ended
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
  CHECK(state < S::kCount && event < RequestEvent::kCount);
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

}  // namespace deepserve::daemon
