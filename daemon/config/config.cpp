#include "daemon/config/config.h"

#include <algorithm>

namespace deepserve::daemon {

std::string ListenAddress::text() const {
  if (is_unix()) return "unix:" + unix_path;
  if (!is_tcp()) return "";
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

const DeviceConfig* Config::find_device(std::string_view name) const {
  for (const auto& device : devices) {
    if (device.name == name) return &device;
  }
  return nullptr;
}

const ModelConfig* Config::find_model(std::string_view name) const {
  if (name.empty()) return &models.front();
  for (const auto& model : models) {
    if (model.name == name || std::count(model.aliases.begin(), model.aliases.end(), name) != 0)
      return &model;
  }
  return nullptr;
}

std::string problems_text(const std::string& file, const ConfigProblems& problems) {
  std::string text;
  for (const auto& problem : problems) {
    text += fmt::format("{}:{}:{}: {}\n", file, problem.line, problem.column, problem.message);
  }
  return text;
}

ClientMatch match_client(const Config& config, bool peer_known, uint32_t uid, uint32_t gid) {
  const std::string anonymous = peer_known ? fmt::format("uid:{}", uid) : "unknown";
  if (config.clients.empty()) {
    return {anonymous, peer_known ? ipc::Class::kVip : ipc::Class::kNormal, 1.0};
  }
  for (const auto& client : config.clients) {
    const bool uid_fits = !client.uid || *client.uid == uid;
    const bool gid_fits = !client.gid || *client.gid == gid;
    if (peer_known && uid_fits && gid_fits) return {client.name, client.class_ceiling, client.weight};
  }
  return {anonymous, ipc::Class::kNormal, 1.0};
}

}  // namespace deepserve::daemon
