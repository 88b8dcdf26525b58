#include "daemon/rollout/generation.h"

#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using S = GenerationState;
constexpr size_t kStates = static_cast<size_t>(S::kCount);
constexpr size_t kEvents = static_cast<size_t>(GenerationEvent::kCount);
using Row = std::array<GenerationCell, kEvents>;

constexpr GenerationCell go(S next) {
  return {GenerationRule::kGo, next};
}
constexpr GenerationCell kStay{GenerationRule::kStay, S::kAbsent};
constexpr GenerationCell kNever{GenerationRule::kImpossible, S::kAbsent};

// clang-format off
constexpr std::array<Row, kStates> kTable = {{
    // kLoad          kWarm           kReady          kTryOut         kMirror
    // kRoute         kUnroute        kDrained        kRetire         kFail
    // absent
    {{go(S::kLoading), kNever,         kNever,         kNever,         kNever,
      kNever,         kNever,         kNever,         go(S::kRetired), go(S::kFailed)}},
    // loading; routed to while there is no other that could serve meanwhile
    {{kNever,         go(S::kWarming), go(S::kReady),  kNever,         kNever,
      kStay,          kStay,          kNever,         go(S::kRetired), go(S::kFailed)}},
    // warming
    {{kNever,         kStay,          go(S::kReady),  kNever,         kNever,
      kStay,          kStay,          kNever,         go(S::kRetired), go(S::kFailed)}},
    // ready
    {{kNever,         kStay,          kStay,          go(S::kCanary), go(S::kShadow),
      go(S::kLive),   kStay,          kStay,          go(S::kRetired), go(S::kFailed)}},
    // canary; its runners may die and come back
    {{kNever,         kStay,          kStay,          kStay,          go(S::kShadow),
      go(S::kLive),   go(S::kDraining), kStay,        go(S::kRetired), go(S::kFailed)}},
    // shadow
    {{kNever,         kStay,          kStay,          go(S::kCanary), kStay,
      go(S::kLive),   go(S::kDraining), kStay,        go(S::kRetired), go(S::kFailed)}},
    // live
    {{kNever,         kStay,          kStay,          kNever,         kNever,
      kStay,          go(S::kDraining), kStay,        go(S::kRetired), go(S::kFailed)}},
    // draining
    {{kNever,         kStay,          kStay,          kNever,         kNever,
      go(S::kLive),   kStay,          go(S::kReady),  go(S::kRetired), go(S::kFailed)}},
    // retired
    {{kNever,         kStay,          kStay,          kNever,         kNever,
      kNever,         kStay,          kStay,          kStay,          kStay}},
    // failed
    {{kNever,         kStay,          kStay,          kNever,         kNever,
      kNever,         kStay,          kStay,          kStay,          kStay}},
}};
// clang-format on
static_assert(kTable.size() == kStates && kTable[0].size() == kEvents);

}  // namespace

std::string_view generation_state_name(GenerationState state) {
  constexpr std::array<std::string_view, kStates> kNames = {
      "absent", "loading", "warming", "ready", "canary", "shadow", "live", "draining", "retired", "failed"};
  return kNames.at(static_cast<size_t>(state));
}

GenerationCell generation_cell(GenerationState state, GenerationEvent event) {
  CHECK(state < GenerationState::kCount && event < GenerationEvent::kCount);
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

bool generation_is_over(GenerationState state) {
  return state == S::kRetired || state == S::kFailed;
}

}  // namespace deepserve::daemon
