// What a runner on a GPU, and the MPS daemon of a GPU, find in their environment. Pure.
//
// A runner sees one GPU, as device 0. Numbers follow the PCI bus, as those of nvidia-smi do. Of a GPU that is
// known by its UUID daemon and clients get that; of one that is known by its number the clients get 0, which
// is what the daemon makes of the one GPU that it has ("Multi-Process Service", CUDA_VISIBLE_DEVICES).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Where the files of a GPU's MPS daemon lie: DIR/<gpu>/pipe, DIR/<gpu>/log. `directory`: of all of them.
std::string mps_pipe_dir(const std::string& directory, const std::string& gpu);
std::string mps_log_dir(const std::string& directory, const std::string& gpu);

// Of the MPS daemon, and of the program that speaks with it. `gpu` names the directory; `visible` is the
// same, or its UUID where the configuration has its number and the driver has told which GPU that is.
Environment mps_environment(const std::string& directory, const std::string& gpu, const std::string& visible);

// Of a runner. `is_client`: of that GPU's MPS daemon; else it is kept from any other MPS daemon of this host.
Environment runner_environment(const std::string& directory, const DeviceConfig& device,
                               const std::string& visible, bool is_client);

// The variables that these set; what dsd itself was started with of them goes to nobody.
bool is_gpu_variable(std::string_view name);

}  // namespace deepserve::daemon
