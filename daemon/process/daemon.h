// dsd as a whole: everything made in its order, run, and taken down in its order.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/upgrade/handed_state.h"

namespace deepserve::daemon {

struct DaemonOptions {
  std::string runner_binary;
  bool state_dir_wanted = false;            // named by the user: not being able to make it is an error
  std::vector<std::string> arguments = {};  // our own, for the program that an upgrade puts in our place
  std::optional<HandedState> handed = {};   // this one takes another's place
  std::string rolled_back = {};             // why a third one gave it back; empty: none did
};

// Serves `config` until SIGTERM or SIGINT. READY is told to systemd once the sockets are open: whether a
// model is ready is /readyz's to say. Returns the exit status: 0 after a graceful stop, 1 when it could not
// start or a second signal ended it at once. The process, and the runners with it, dumps no core from here
// on.
int run_daemon(const Config& config, const DaemonOptions& options);

}  // namespace deepserve::daemon
