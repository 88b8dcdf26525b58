// The trial of suspects of one model (DESIGN 6.4). Pure.
//
// When a runner died and something that ran there may be why, the requests that it had are suspects. They are
// replayed by one runner, their court: it takes nobody else meanwhile, and the next suspect only once the one
// before has told the tokens at which its runner would have died again, or has ended. Those that have stood
// their trial go on there while the next is tried. Dies the court under a trial, all that it had are suspects
// anew; the one that was on trial comes first then, so it is alone, and one that is alone when its runner
// dies again is what kills (RequestProgress).
//
// The court is a runner that has nothing else to do. Where none has for kPatience_ns, the one with the least
// takes nothing new until it is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_set>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class SuspectTrial {
 public:
  static constexpr uint64_t kPatience_ns = 5'000'000'000;
  static constexpr uint32_t kTokens = 4;  // of each choice, that clear a suspect

  struct Candidate {  // a runner of the model that is up
    uint32_t runner = 0;
    size_t requests = 0;
  };

  // A suspect waits for its trial, or for it again.
  void wait(ipc::RequestId request, uint64_t now_ns);
  // It was sent to `runner`.
  void begin(ipc::RequestId request, uint32_t runner);
  // It has told enough, and is no suspect any more.
  void clear(ipc::RequestId request);
  // It has ended, or left its runner: any request, suspect or not.
  void leave(ipc::RequestId request);
  void runner_down(uint32_t runner);
  // Finds a court where one is needed; forgets it where none is.
  void convene(std::span<const Candidate> candidates, uint64_t now_ns);

  // Whether `runner`, which has `requests` in hand, may take one.
  bool may_take(uint32_t runner, size_t requests, bool suspect) const;
  bool is_on() const { return !waiting_.empty() || on_trial_.has_value(); }
  std::optional<ipc::RequestId> on_trial() const { return on_trial_; }
  std::optional<uint32_t> court() const { return court_; }

 private:
  std::unordered_set<ipc::RequestId> waiting_;
  std::unordered_set<ipc::RequestId> cleared_;  // and still at the court
  std::optional<ipc::RequestId> on_trial_;
  std::optional<uint32_t> court_;
  uint64_t since_ns_ = 0;  // that suspects wait for a court
};

}  // namespace deepserve::daemon
