// What another configuration of a model changes: some keys are its runners', which have them from their
// start, and some are dsd's own.
#pragma once

#include <string_view>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// Whether a model's key, as the file writes it, is its runners': another value takes another generation.
bool is_runner_key(std::string_view key);

// Whether runners that were started for one do for the other: they differ in nothing but dsd's own keys.
bool has_same_runners(const ModelConfig& left, const ModelConfig& right);

// Of `from` the keys that are its runners'.
void take_runner_keys(const ModelConfig& from, ModelConfig& to);

}  // namespace deepserve::daemon
