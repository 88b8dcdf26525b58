// The file of a program that is about to take this one's place.
#pragma once

#include <string>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

struct Program {
  std::string path;  // absolute
  Fd file;           // what stays the same program whatever becomes of the path
};

// kConflict, naming the file and what is wrong with it: it is not there, no regular file, not executable,
// runs under another's rights (set-uid, set-gid), is owned by another than root or our user, or can be
// written by others.
Result<Program> open_program(const std::string& path);

// The program that runs in this process, even if its file was replaced or removed since.
Result<Program> open_own_program();

}  // namespace deepserve::daemon
