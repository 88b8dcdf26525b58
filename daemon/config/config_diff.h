// What another version of the file would change, and by what a running dsd takes it over.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// By what a change takes effect.
enum class TakesEffect : uint8_t {
  kReload,  // at once
  kSwap,    // a reload begins it: the model gets another generation, its requests go on in the one before
  kLoad,    // a reload begins it: the model comes
  kDrain,   // a reload begins it: the model goes once its requests have ended
};
std::string_view takes_effect_name(TakesEffect takes);

struct ConfigChange {
  std::string key;   // "class.vip.deadline", "client.frontend.weight", "model.tiny.path"
  std::string from;  // as JSON; empty: it was not there
  std::string to;    // as JSON; empty: it is not there any more
  TakesEffect takes = TakesEffect::kReload;
};

// Every key whose value differs, in the order of their names. Of API keys only that they differ.
std::vector<ConfigChange> config_diff(const Config& from, const Config& to);

// {"path": ..., "changes": [{"key", "from", "to", "takes_effect": "reload" | "swap" | "load" | "drain"}]};
// null for what is not there.
std::string changes_json(const std::string& file, const std::vector<ConfigChange>& changes);

}  // namespace deepserve::daemon
