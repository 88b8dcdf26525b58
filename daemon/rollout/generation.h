// The life of one generation of a model (DESIGN 9): one loaded version of it, weights and runners. A table of
// state x event. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve::daemon {

enum class GenerationState : uint8_t {
  kAbsent,    // known by its number alone: no process was started
  kLoading,   // its processes read the weights
  kWarming,   // they compute their first pass. Not: that they take requests
  kReady,     // warm and without traffic: a candidate, or the one that a rollback goes to
  kCanary,    // some requests go there, beside the live one
  kShadow,    // copies of requests go there, and nobody gets its answers
  kLive,      // requests go there. Not: that each of its runners is ready
  kDraining,  // no new request goes there; those that run may end
  kRetired,   // its processes were told to end, and nobody wants it any more
  kFailed,    // the same, because it could not be loaded or was not fit to serve: see its reason
  kCount
};
std::string_view generation_state_name(GenerationState state);

enum class GenerationEvent : uint8_t {
  kLoad,     // its processes are started
  kWarm,     // the weights are read
  kReady,    // it takes requests
  kTryOut,   // some requests are to go there
  kMirror,   // copies of requests are to go there
  kRoute,    // all requests are to go there
  kUnroute,  // none are, from now on
  kDrained,  // none is left there, and it is to stay warm
  kRetire,   // it is to go
  kFail,     // it cannot be loaded, or is not fit to serve
  kCount
};

enum class GenerationRule : uint8_t {
  kGo,          // to `next`
  kStay,        // nothing new
  kImpossible,  // our bug
  kCount
};

struct GenerationCell {
  GenerationRule rule = GenerationRule::kImpossible;
  GenerationState next = GenerationState::kAbsent;  // of kGo
};

GenerationCell generation_cell(GenerationState state, GenerationEvent event);

// It will never serve again.
bool generation_is_over(GenerationState state);

// What is known of a generation. Plain values: a new dsd, or another build of it, makes it again from these.
struct Generation {
  uint32_t number = 0;  // from 1 on, per model; never used twice
  GenerationState state = GenerationState::kAbsent;
  std::string path;    // of its weights
  std::string reason;  // why it failed, or what ended it; empty: nothing has
  uint64_t begun_ns = 0;
  uint64_t ready_ns = 0;  // 0: it never was
  uint64_t live_ns = 0;   // since when, or when last; 0: it never was
  uint64_t ended_ns = 0;  // when it was retired or failed; 0: it is not over
};

}  // namespace deepserve::daemon
