// The configuration as JSON.
#include <boost/json.hpp>

#include "daemon/config/config.h"
#include "daemon/config/units.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

template <typename Value>
json::array plain_array(const std::vector<Value>& values) {
  json::array array;
  for (const auto& value : values) array.emplace_back(value);
  return array;
}

template <typename Item, typename ToJson>
json::array array_of(const std::vector<Item>& items, ToJson to_json) {
  json::array array;
  for (const auto& item : items) array.push_back(to_json(item));
  return array;
}

// 0 stands for the model's own, which nobody can write as a number.
json::value context_json(uint32_t tokens) {
  return tokens == 0 ? json::value() : json::value(tokens);
}

json::object model_json(const ModelConfig& model) {
  return {{"name", model.name},
          {"aliases", plain_array(model.aliases)},
          {"path", model.path},
          {"devices",
           array_of(model.devices, [](const DeviceConfig& device) { return json::value(device.name); })},
          {"tensor_parallel", model.tensor_parallel},
          {"context_tokens", context_json(model.context_tokens)},
          {"kv_memory", size_text(model.kv_memory_bytes)},
          {"kv_type", model.kv_type},
          {"sequences_max", model.sequences_max},
          {"step_target", duration_text(model.step_target_ns)},
          {"step_max", duration_text(model.step_max_ns)},
          {"keep_alive", duration_text(model.keep_alive_ns)},
          {"keep_warm", duration_text(model.keep_warm_ns)},
          {"prefix_cache", prefix_cache_name(model.prefix_cache)},
          {"chat_template", model.chat_template},
          {"speculation", model.speculation},
          {"deterministic", model.deterministic},
          {"fallback", plain_array(model.fallback)},
          {"fallback_reply", model.fallback_reply}};
}

json::object device_json(const DeviceConfig& device) {
  const bool limited = device.memory_limit_bytes != 0;
  json::object object{
      {"name", device.name},
      {"kind", device.kind},
      {"cores", plain_array(device.cores)},
      {"memory_limit", limited ? json::value(size_text(device.memory_limit_bytes)) : json::value()}};
  if (!device.is_gpu()) return object;
  const bool is_uuid = device.gpu.starts_with("GPU-");
  object["gpu"] = is_uuid ? json::value(device.gpu) : json::value(std::stoul(device.gpu));
  object["thread_percent"] = device.thread_percent;
  object["allow_jit"] = device.allow_jit;
  return object;
}

json::object client_json(const ClientConfig& client) {
  json::object object{{"name", client.name}};
  if (client.uid) object["uid"] = *client.uid;
  if (client.gid) object["gid"] = *client.gid;
  if (!client.cgroup.empty()) object["cgroup"] = client.cgroup;
  object["api_keys"] = client.api_keys.size();  // how many: their digests help nobody who reads this
  object["class"] = ipc::class_name(client.class_ceiling);
  object["weight"] = client.weight;
  object["max_concurrent"] = client.concurrent_max;
  object["tokens_per_minute"] = client.tokens_per_minute;
  object["trusted_proxy"] = client.trusted_proxy;
  json::array& accepted = (object["accept_degraded"] = json::array()).as_array();
  if (client.agreement.truncated_context) accepted.emplace_back(kTruncatedContext);
  if (client.agreement.smaller_model) accepted.emplace_back(kSmallerModel);
  return object;
}

}  // namespace

std::string config_json(const Config& config) {
  json::object classes;
  for (size_t i = 0; i < kClasses; ++i) {
    const auto& one = config.classes[i];
    classes[ipc::class_name(static_cast<ipc::Class>(i))] = json::object{
        {"share", one.share}, {"deadline", duration_text(one.deadline_ns)}, {"queue_max", one.queue_max}};
  }
  const json::object server{
      {"listen",
       array_of(config.server.listen, [](const auto& address) { return json::value(address.text()); })},
      {"control", config.server.control.text()},
      {"drain_limit", duration_text(config.server.drain_limit_ns)},
      {"request_timeout", duration_text(config.server.request_timeout_ns)}};
  const json::object supervise{{"deaths_max", config.supervise.deaths_max},
                               {"window", duration_text(config.supervise.window_ns)},
                               {"hang_after", duration_text(config.supervise.hang_after_ns)},
                               {"load_hang_after", duration_text(config.supervise.load_hang_after_ns)},
                               {"orphan_limit", duration_text(config.supervise.orphan_limit_ns)}};
  return json::serialize(json::object{{"server", server},
                                      {"observe", json::object{{"listen", config.observe.listen.text()}}},
                                      {"supervise", supervise},
                                      {"device", array_of(config.devices, device_json)},
                                      {"model", array_of(config.models, model_json)},
                                      {"class", classes},
                                      {"client", array_of(config.clients, client_json)}});
}

std::string problems_json(const std::string& file, const ConfigProblems& problems) {
  json::array errors;
  json::array warnings;
  for (const auto& problem : problems) {
    (problem.is_warning ? warnings : errors)
        .push_back(
            json::object{{"line", problem.line}, {"column", problem.column}, {"message", problem.message}});
  }
  return json::serialize(
      json::object{{"ok", errors.empty()}, {"path", file}, {"errors", errors}, {"warnings", warnings}});
}

}  // namespace deepserve::daemon
