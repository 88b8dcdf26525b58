// Why a runner's process ended, and whether it is to blame (DESIGN 6.4, 10). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/dispatch/request_progress.h"
#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// All that is known of one death.
struct DeathFacts {
  bool status_known = true;  // false: it was an earlier dsd's child, the next three say nothing
  bool exited = false;       // else: ended by `signal`
  int exit_status = 0;
  int signal = 0;
  bool was_ready = false;  // it had loaded its model and served
  bool drained = false;    // it had said that it has ended all its requests
  bool signalled_by_us = false;
  bool out_of_memory = false;     // the kernel's OOM count rose while it lived
  ipc::DeathCause cause;          // what it wrote into the lane
  std::optional<Error> reported;  // what its last state message, kFailed, said
};

struct Death {
  Blame blame = Blame::kRunner;
  bool permanent = false;  // the same will happen again: a restart is no use
  std::string reason;      // "killed", "crash", "exit", "oom", "refused", "drained", "device": for metrics
  std::string text;        // one sentence for the operator
  // Its device's number for the fault that ended it (device_fault.h): such a death counts, whomever it
  // blames. 0: it was no such fault.
  int device_error = 0;
};

// A device fault is judged by the table of device_fault.h: whether a request may have caused it, and whether
// a restart is of any use. What cannot be loaded now cannot be loaded in half a second either; but what was
// served once is loaded anew: a model file that was touched or replaced may be good. An outside SIGKILL (no
// cause in the lane, not sent by us, nothing counted by the OOM killer) blames nobody; nor does an end of
// which nobody tells us how it was and that left no cause.
Death classify_death(const DeathFacts& facts);

}  // namespace deepserve::daemon
