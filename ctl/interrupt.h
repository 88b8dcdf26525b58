// Ctrl-C as something to wait for: while an InterruptScope lives, SIGINT no longer ends the program.
#pragma once

#include <signal.h>

#include "ipc/base/fd.h"

namespace deepserve::ctl {

class InterruptScope {
 public:
  // At most one at a time.
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  // Readable once SIGINT has come; stays so until the scope ends.
  int fd() const { return event_.get(); }

 private:
  Fd event_;
  struct sigaction before_ {};
};

enum class Ready { kReadable, kTimeout, kInterrupted };

// Waits until `fd` can be read (-1: only waits), `interrupt_fd` can (-1: none), or `timeout_ms` passed (-1:
// for ever).
Ready wait_readable(int fd, int interrupt_fd, int timeout_ms);

}  // namespace deepserve::ctl
