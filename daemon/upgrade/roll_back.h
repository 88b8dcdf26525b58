// The way back while a program takes another's place: until it is ready, whatever ends it gives the process
// back to the one before, with the state that this one left (DESIGN 10).
//
// The two arguments that one passes to the next, after all the others:
//   --take-over STATE:OLD     descriptors: of the sealed state, and of the old program; OLD is -1 when that
//   is
//                             who is meant: it has no one to go back to
//   --rolled-back REASON      why the other one did not take over
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::daemon {

struct TakeOver {
  int state_fd = -1;
  int old_program_fd = -1;       // -1: there is no way back
  std::string rolled_back = {};  // why another program gave the process back to this one; empty: none did
};

inline constexpr unsigned kTakeOverLimit_s = 5;

// Takes the two out of `arguments`. Nothing where they are not, or name what cannot be descriptors.
std::optional<TakeOver> take_over_argument(std::vector<std::string>& arguments);
void add_take_over(std::vector<std::string>& arguments, const TakeOver& take_over);

// Signals that end a process for what it did itself: never blocked. The others wait until the next program is
// ready.
void block_signals();
void unblock_signals();

namespace roll_back {

// From now until disarm(), these become the old program again, with `arguments`: a fatal signal, abort,
// exit(), kTakeOverLimit_s since the alarm that the old one set. Call it first of all. Without an old program
// the alarm ends the process.
void arm(const TakeOver& take_over, const std::vector<std::string>& arguments);
// The descriptors that the old program will want back.
void remember(std::span<const int> descriptors);
// Becomes the old program now; returns where nothing is armed.
void now(std::string_view reason);
// This program is ready: there is no way back, and the descriptors are close-on-exec again.
void disarm();

}  // namespace roll_back

// Becomes `program` (a descriptor), which gets `arguments` and our environment, within kTakeOverLimit_s or
// not at all. `descriptors` stay open in it, and no others but the standard streams. Returns only when it
// cannot be run; everything is as before then.
Error become(int program, const std::vector<std::string>& arguments, std::span<const int> descriptors);

}  // namespace deepserve::daemon
