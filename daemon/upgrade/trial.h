// A new program is asked, as a child process, whether it could take over: before anything is given up for it.
//
// The child gets our own arguments and, after them, "--trial STATE:REPORT" (descriptors). It reads the state,
// writes kTrialPassed or its reason to the report, and ends.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/loop/loop.h"
#include "daemon/supervise/child.h"
#include "daemon/upgrade/handed_state.h"
#include "daemon/upgrade/program.h"

namespace deepserve::daemon {

inline constexpr std::string_view kTrialPassed = "passed";

// The side that asks.
class Trial {
 public:
  static constexpr uint64_t kLimit_ms = 5'000;

  // `done`: from the loop, once after each start() that did not fail. kConflict says why the program is not
  // fit.
  Trial(Loop& loop, std::function<void(Result<void>)> done);
  ~Trial();

  Result<void> start(const Program& program, const std::vector<std::string>& arguments,
                     const HandedState& state);

 private:
  void finish();
  Result<void> verdict(const ChildStatus& status) const;

  Loop& loop_;
  const std::function<void(Result<void>)> done_;
  Timer timer_;
  bool late_ = false;
  std::string path_;
  Fd report_;
  std::optional<Child> child_;
  std::unique_ptr<Poll> ended_;
};

// The side that is asked: takes the option out of `arguments`; nothing where it is not.
struct TrialDescriptors {
  int state = -1;
  int report = -1;
};
std::optional<TrialDescriptors> trial_argument(std::vector<std::string>& arguments);
// Writes the verdict: that the state cannot be read, or what `check` says. Returns the exit status.
int answer_trial(const TrialDescriptors& descriptors,
                 const std::function<Result<void>(const HandedState&)>& check);

}  // namespace deepserve::daemon
