// The brownout ladder (DESIGN 7): what is given up, step by step, so that VIP work meets its deadlines when
// shedding alone does not do it. Pure.
//
// Up one step for each kEnter_ns in which admitted VIP work is predicted to miss its deadline all the time
// although shedding is active; down one step for each kLeave_ns without. Plain overload of the lower classes
// is shed and never gets here. Steps that are switched off are passed over. Each step includes those before
// it. What a step changes for a request is announced in X-Deepserve-Degraded; vip is never changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ipc/base/clock.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// In the order in which they are entered.
enum class BrownoutLevel : uint8_t {
  kNone,        // all is served as asked for
  kPauseBatch,  // batch waits
  kCapTokens,   // and answers below vip are cut at BrownoutLadder::kTokensMax
  kSubstitute,  // and who agreed to it gets a cached answer or a smaller model's
  kTruncate,    // and long prompts of who agreed to it lose their middle
  kVipOnly,     // nothing but vip is served
  kCount
};
std::string_view brownout_level_name(BrownoutLevel value);  // "none", "pause_batch", "cap_tokens", ...

// What the step does to a request of this class, for X-Deepserve-Degraded; empty: nothing. What the opt-in
// steps do is announced by those who do it.
std::string_view brownout_announcement(BrownoutLevel level, ipc::Class service_class);

// Which steps may be entered. Those that change what a client gets need parts that are switched on with them.
struct BrownoutSteps {
  bool substitute = false;
  bool truncate = false;
};

class BrownoutLadder {
 public:
  static constexpr uint64_t kEnter_ns = kSecond_ns;
  static constexpr uint64_t kLeave_ns = 5 * kSecond_ns;
  static constexpr uint32_t kTokensMax = 256;          // of an answer, from kCapTokens on
  static constexpr uint32_t kPromptTokensMax = 1'024;  // of a prompt, from kTruncate on, about

  explicit BrownoutLadder(const BrownoutSteps& steps = {}) { set_steps(steps); }
  // From now on; a step that it is on and that is not among them any more is left as any other.
  void set_steps(const BrownoutSteps& steps);

  // At least every kEnter_ns / 4. `vip_misses`: admitted VIP work is predicted to be late; `is_shedding`:
  // lower work is being refused for load. True: the level has changed.
  bool step(bool vip_misses, bool is_shedding, uint64_t now_ns);

  BrownoutLevel level() const { return level_; }

 private:
  std::array<bool, static_cast<size_t>(BrownoutLevel::kCount)> enabled_;
  BrownoutLevel level_ = BrownoutLevel::kNone;
  bool in_trouble_ = false;
  uint64_t since_ns_ = 0;  // that in_trouble_ is what it is, or that the level changed
  uint64_t now_ns_ = 0;
};

}  // namespace deepserve::daemon
