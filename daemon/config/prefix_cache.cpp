#include "daemon/config/prefix_cache.h"

#include <array>
#include <cstring>
#include <string>

#include "daemon/config/api_key.h"

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"shared", "per_client", "off"};
static_assert(kNames.size() == static_cast<size_t>(PrefixCache::kCount));

}  // namespace

std::string_view prefix_cache_name(PrefixCache value) {
  return kNames.at(static_cast<size_t>(value));
}

ipc::PrefixSalt prefix_salt_of(std::string_view client) {
  const KeyDigest digest = digest_of_key("prefix cache of " + std::string(client));
  ipc::PrefixSalt salt;
  std::memcpy(&salt.low, digest.data(), sizeof salt.low);
  std::memcpy(&salt.high, digest.data() + sizeof salt.low, sizeof salt.high);
  return salt;
}

}  // namespace deepserve::daemon
