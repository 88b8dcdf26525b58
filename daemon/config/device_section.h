// The keys of one [[device]], and what devices must be to hold one model together. Included only inside
// config/.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/config/toml_section.h"

namespace deepserve::daemon {

// All keys but the name. `others`: the devices before it in the file.
void read_device_keys(Section& section, const ConfigSurroundings& surroundings,
                      const std::vector<DeviceConfig>& others, DeviceConfig& device);

// Why the devices of a model with tensor_parallel cannot be its ranks'; empty: they can. All devices and
// models are known by now.
std::string group_trouble(const Config& config, const ModelConfig& model);

}  // namespace deepserve::daemon
