#include "daemon/config/config.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

// Itself, or somewhere below it.
bool is_within(std::string_view cgroup, std::string_view parent) {
  if (!cgroup.starts_with(parent)) return false;
  return cgroup.size() == parent.size() || cgroup[parent.size()] == '/';
}

}  // namespace

std::string ListenAddress::text() const {
  if (is_unix()) return "unix:" + unix_path;
  if (!is_tcp()) return "";
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

const ModelConfig* Config::find_model(std::string_view name) const {
  if (name.empty()) return &models.front();
  for (const auto& model : models) {
    if (model.name == name || std::count(model.aliases.begin(), model.aliases.end(), name) != 0)
      return &model;
  }
  return nullptr;
}

bool replays_exactly(const ModelConfig& model) {
  return model.deterministic || std::none_of(model.devices.begin(), model.devices.end(),
                                             [](const auto& device) { return device.is_gpu(); });
}

bool Config::is_shared(std::string_view gpu) const {
  size_t parts = 0, runners = 0;
  bool is_whole = true;
  for (const auto& device : devices) {
    if (device.gpu != gpu) continue;
    ++parts;
    is_whole = is_whole && device.thread_percent == 100;
  }
  for (const auto& model : models) {
    for (const auto& device : model.devices) runners += device.gpu == gpu ? 1 : 0;
  }
  return parts > 1 || runners > 1 || !is_whole;
}

std::string problems_text(const std::string& file, const ConfigProblems& problems) {
  std::string text;
  for (const auto& problem : problems) {
    text += fmt::format("{}:{}:{}: {}{}\n", file, problem.line, problem.column,
                        problem.is_warning ? "warning: " : "", problem.message);
  }
  return text;
}

bool Config::asks_cgroups() const {
  return std::any_of(clients.begin(), clients.end(),
                     [](const auto& client) { return !client.cgroup.empty(); });
}

const ClientConfig* find_client_by_key(const Config& config, std::string_view key) {
  const KeyDigest shown = digest_of_key(key);
  const ClientConfig* found = nullptr;
  for (const auto& client : config.clients) {
    for (const auto& digest : client.api_keys) {
      if (same_digest(digest, shown)) found = &client;
    }
  }
  return found;
}

ClientMatch match_client(const Config& config, const Caller& caller) {
  const std::string anonymous = caller.peer_known ? fmt::format("uid:{}", caller.uid) : "unknown";
  if (config.clients.empty()) {
    return {.name = anonymous, .class_ceiling = caller.peer_known ? ipc::Class::kVip : ipc::Class::kNormal};
  }
  const auto is_caller = [&](const ClientConfig& client) {
    if (!caller.key_client.empty()) return client.name == caller.key_client;
    const bool names_peers = client.uid || client.gid || !client.cgroup.empty();
    const bool uid_fits = !client.uid || *client.uid == caller.uid;
    const bool gid_fits = !client.gid || *client.gid == caller.gid;
    const bool cgroup_fits = client.cgroup.empty() || is_within(caller.cgroup, client.cgroup);
    return caller.peer_known && names_peers && uid_fits && gid_fits && cgroup_fits;
  };
  for (const auto& client : config.clients) {
    if (!is_caller(client)) continue;
    return {client.name,           client.class_ceiling,     client.weight,
            client.concurrent_max, client.tokens_per_minute, client.trusted_proxy,
            client.agreement};
  }
  return {.name = anonymous};
}

}  // namespace deepserve::daemon
