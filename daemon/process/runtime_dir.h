// The directory where dsd's sockets lie, and the lock that makes this dsd its only one.
#pragma once

#include <string>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// Creates `path` (0700) and its missing parents. kIo when it cannot, or when it is there and no directory.
Result<void> make_private_dir(const std::string& path);

// Where in it the runners' sockets lie by which a next dsd finds them.
std::string rendezvous_dir(const std::string& runtime_dir);
// And where the MPS daemons of shared GPUs have their files.
std::string mps_dir(const std::string& runtime_dir);

class RuntimeDir {
 public:
  // Creates the directory where it is missing and takes its lock (DIR/dsd.lock, which holds our pid).
  // kConflict names the process that has it. Stale sockets may be removed only while the lock is held; it is
  // until this object goes.
  static Result<RuntimeDir> claim(const std::string& path);
  // The same directory with the lock that this process took before it became another program (an upgrade in
  // place). kIo when the descriptor is not that lock; it stays the caller's then.
  static Result<RuntimeDir> take_over(const std::string& path, int lock);

  int lock_descriptor() const { return lock_.get(); }

 private:
  explicit RuntimeDir(Fd lock) : lock_(std::move(lock)) {}
  Fd lock_;
};

}  // namespace deepserve::daemon
