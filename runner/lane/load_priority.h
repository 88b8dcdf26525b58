// A runner that loads its model beside one that serves: until it is ready the other one goes first.
//
// An unprivileged process cannot take back the niceness of a thread. So what costs time runs on threads that
// end before the runner serves; and where the kernel weighs sessions against each other (sched(7), the
// autogroup feature), the niceness of ours counts, which may be taken back.
#pragma once

#include <functional>

#include "ipc/base/fd.h"

namespace deepserve::runner {

class LoadPriority {
 public:
  // `nice` 0: no other than anybody's. Before the sandbox, which closes /proc. The process leads its session.
  explicit LoadPriority(int nice);

  // Runs `work`, as nice as that, and returns when it is done.
  void aside(const std::function<void()>& work) const;
  // From here on the process is as all others.
  void end();

 private:
  const int nice_;
  Fd autogroup_;  // none: sessions are not weighed
};

}  // namespace deepserve::runner
