// The command line of a runner: what dsd and ds-runner agree on at spawn.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// The devices that serve one copy of a model together: rank 0's first. Never empty.
using DeviceGroup = std::vector<const DeviceConfig*>;

// The groups of a model, of tensor_parallel devices each, in the order of its devices.
std::vector<DeviceGroup> device_groups(const Config& config, const ModelConfig& model);

// "cpu0", or "cpu0+cpu1"
std::string devices_text(const DeviceGroup& devices);
// "<model>@<devices>"
std::string runner_id(const ModelConfig& model, const DeviceGroup& devices);

// Of the process of `rank`, an index in `devices`.
std::vector<std::string> runner_command(const std::string& binary, const ModelConfig& model,
                                        const DeviceGroup& devices, uint32_t rank, uint64_t epoch);

}  // namespace deepserve::daemon
