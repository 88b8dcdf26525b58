// Who shares what a model has computed of prompts that begin alike.
#pragma once

#include <cstdint>
#include <string_view>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

enum class PrefixCache : uint8_t {
  kShared,     // everyone
  kPerClient,  // each client with itself: how soon a first token comes tells nobody what others asked
  kOff,
  kCount,
};

std::string_view prefix_cache_name(PrefixCache value);  // as the configuration has it

// Of the prompts of `client` under kPerClient: 128 bits of a SHA-256, so that no two clients share one.
ipc::PrefixSalt prefix_salt_of(std::string_view client);

}  // namespace deepserve::daemon
