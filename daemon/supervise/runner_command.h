// The command line of a runner: what dsd and ds-runner agree on at spawn.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// "<model>@<device>"
std::string runner_id(const ModelConfig& model, const DeviceConfig& device);

std::vector<std::string> runner_command(const std::string& binary, const ModelConfig& model,
                                        const DeviceConfig& device, uint64_t epoch);

}  // namespace deepserve::daemon
