// The programs of MPS on this host: where the control program lies, and which daemons an earlier dsd left.
#pragma once

#include <string>
#include <vector>

#include "ipc/lane/process_identity.h"

namespace deepserve::daemon {

// The control program, the first on PATH; empty: there is none.
std::string find_mps_control();

// A control daemon whose files lie in one of our directories.
struct LeftMps {
  std::string gpu;      // the name of its directory
  std::string visible;  // what it was told to use: that GPU's number or UUID
  ipc::ProcessIdentity process;
};

// Those of our own user whose CUDA_MPS_PIPE_DIRECTORY is DIR/<gpu>/pipe: what a process was started with says
// it even where a dsd was killed before it could note anything down.
std::vector<LeftMps> find_left_mps(const std::string& directory);

// Ends those, with all their servers, and returns once they are gone. For when no next dsd will come.
void end_left_mps(const std::string& directory);

}  // namespace deepserve::daemon
