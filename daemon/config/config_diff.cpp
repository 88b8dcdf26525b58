#include "daemon/config/config_diff.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "daemon/config/model_change.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;
using Flat = std::map<std::string, std::string>;

bool is_named(const json::value& item) {
  return item.is_object() && item.as_object().contains("name");
}

// Each value under the path that leads to it; what has a name goes by that.
void flatten(const json::value& value, const std::string& path, Flat& flat) {
  const auto below = [&path](std::string_view name) {
    return path.empty() ? std::string(name) : path + "." + std::string(name);
  };
  if (const auto* object = value.if_object()) {
    for (const auto& [name, item] : *object) flatten(item, below(name), flat);
    return;
  }
  const auto* list = value.if_array();
  if (list == nullptr || list->empty() || !std::all_of(list->begin(), list->end(), is_named)) {
    flat[path] = json::serialize(value);
    return;
  }
  json::array names;
  for (const auto& item : *list) {
    const auto& name = item.as_object().at("name").as_string();
    names.push_back(name);
    flatten(item, below(name), flat);
  }
  flat[path] = json::serialize(names);  // their order counts
}

Flat flat_of(const Config& config) {
  Flat flat;
  flatten(json::parse(config_json(config)), "", flat);
  for (const auto& client : config.clients) {
    std::string digests;
    for (const auto& digest : client.api_keys) digests.append(digest.begin(), digest.end());
    flat["client." + client.name + ".api_keys"] = digests;
  }
  return flat;
}

TakesEffect takes_effect(const std::string& key, const std::string& from, const std::string& to) {
  const bool is_of_model = key.starts_with("model.");
  // A key that is on one side only is that of a model, or a device, which comes or goes.
  if (is_of_model && from.empty()) return TakesEffect::kLoad;
  if (is_of_model && to.empty()) return TakesEffect::kDrain;
  const bool is_of_one_device = key.starts_with("device.") && !from.empty() && !to.empty();
  const bool is_runners = is_of_model && is_runner_key(key.substr(key.rfind('.') + 1));
  return is_runners || is_of_one_device ? TakesEffect::kSwap : TakesEffect::kReload;
}

ConfigChange change_of(const std::string& key, std::string from, std::string to) {
  const auto takes = takes_effect(key, from, to);
  if (key.ends_with(".api_keys")) {
    from = from.empty() ? "" : "\"(those before)\"";
    to = to.empty() ? "" : "\"(others)\"";
  }
  return {key, std::move(from), std::move(to), takes};
}

}  // namespace

std::string_view takes_effect_name(TakesEffect takes) {
  switch (takes) {
    case TakesEffect::kReload:
      return "reload";
    case TakesEffect::kSwap:
      return "swap";
    case TakesEffect::kLoad:
      return "load";
    case TakesEffect::kDrain:
      return "drain";
  }
  return "";
}

std::vector<ConfigChange> config_diff(const Config& from, const Config& to) {
  const Flat before = flat_of(from);
  const Flat after = flat_of(to);
  std::vector<ConfigChange> changes;
  const auto value_in = [](const Flat& flat, const std::string& key) {
    const auto found = flat.find(key);
    return found == flat.end() ? std::string() : found->second;
  };
  Flat all = before;
  all.insert(after.begin(), after.end());
  for (const auto& [key, value] : all) {
    const std::string old_value = value_in(before, key);
    const std::string new_value = value_in(after, key);
    if (old_value != new_value) changes.push_back(change_of(key, old_value, new_value));
  }
  return changes;
}

std::string changes_json(const std::string& file, const std::vector<ConfigChange>& changes) {
  json::array rows;
  const auto value_of = [](const std::string& text) {
    return text.empty() ? json::value() : json::parse(text);
  };
  for (const auto& change : changes) {
    rows.push_back(json::object{{"key", change.key},
                                {"from", value_of(change.from)},
                                {"to", value_of(change.to)},
                                {"takes_effect", takes_effect_name(change.takes)}});
  }
  return json::serialize(json::object{{"path", file}, {"changes", rows}});
}

}  // namespace deepserve::daemon
