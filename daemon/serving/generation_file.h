// What a dsd that comes anew has to know of the generations before it finds their runners: a small file in
// the runtime directory, written whenever a route changes, and gone after a stop that was asked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/rollout/rollout.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// A model's generations.
struct KeptModel {
  std::string model;
  uint32_t slot = 0;       // its place among the models: bookings and tickets name it by that
  ModelConfig configured;  // what it was brought to, its runners' keys: another one now is an operator's word
  bool leaves = false;     // it was configured no longer
  bool on_demand = false;  // where it is unloaded: the next request loads it
  bool judged = false;     // its canary is judged, and the word counts
  std::vector<uint64_t> pauses_ns;  // of its DemandHistory, the oldest first
  RolloutRecord rollout;
  // By generation: what its runners were started with, and their ids, in the order of the model's devices.
  std::map<uint32_t, ModelConfig> settings;
  std::map<uint32_t, std::vector<std::string>> runners;
};

// Atomically: a reader sees this, or what was there before. For our own user alone (0600).
Result<void> write_generations(const std::string& file, const std::vector<KeptModel>& models);
// None where there is no file, or one that is not ours.
std::vector<KeptModel> read_generations(const std::string& file);

}  // namespace deepserve::daemon
