// The command line of a runner: what dsd and ds-runner agree on at spawn.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// The devices that serve one copy of a model together: rank 0's first. Never empty.
using DeviceGroup = std::vector<DeviceConfig>;

// The groups of a model, of tensor_parallel devices each, in the order of its devices.
std::vector<DeviceGroup> device_groups(const ModelConfig& model);

// "cpu0", or "cpu0+cpu1"
std::string devices_text(const DeviceGroup& devices);
// "<model>@<devices>"
std::string runner_id(const ModelConfig& model, const DeviceGroup& devices);

inline constexpr size_t kProgramWords = 2;  // what a command line begins with: the program, "serve"
// Of the process of `rank`, an index in `devices`, of the runner `id`.
std::vector<std::string> runner_command(const std::string& binary, const std::string& id,
                                        const ModelConfig& model, const DeviceGroup& devices, uint32_t rank,
                                        uint64_t epoch);

// Whether a runner that was started with `running` (its words behind "serve") is what `wanted`, a whole
// command line, asks for: the program and what numbers its lives apart. So a newer program takes over an
// older one's.
bool is_same_runner(std::span<const std::string> running, std::span<const std::string> wanted);

}  // namespace deepserve::daemon
