#include "daemon/supervise/runner_command.h"

namespace deepserve::daemon {

std::vector<DeviceGroup> device_groups(const Config& config, const ModelConfig& model) {
  std::vector<DeviceGroup> groups;
  for (size_t i = 0; i < model.devices.size(); ++i) {
    if (i % model.tensor_parallel == 0) groups.emplace_back();
    groups.back().push_back(config.find_device(model.devices[i]));
  }
  return groups;
}

std::string devices_text(const DeviceGroup& devices) {
  std::string text;
  for (const DeviceConfig* device : devices) text += (text.empty() ? "" : "+") + device->name;
  return text;
}

std::string runner_id(const ModelConfig& model, const DeviceGroup& devices) {
  return model.name + "@" + devices_text(devices);
}

std::vector<std::string> runner_command(const std::string& binary, const ModelConfig& model,
                                        const DeviceGroup& devices, uint32_t rank, uint64_t epoch) {
  const DeviceConfig& device = *devices.at(rank);
  std::vector<std::string> command = {binary, "serve"};
  const auto option = [&command](std::string name, std::string value) {
    command.push_back(std::move(name));
    command.push_back(std::move(value));
  };
  option("--name", runner_id(model, devices));
  option("--model", model.path);
  option("--kind", device.kind);
  option("--cores", fmt::format("{}", fmt::join(device.cores, ",")));
  option("--context-tokens", std::to_string(model.context_tokens));
  option("--kv-bytes", std::to_string(model.kv_memory_bytes));
  option("--kv-type", model.kv_type);
  option("--sequences-max", std::to_string(model.sequences_max));
  option("--step-target-ns", std::to_string(model.step_target_ns));
  if (model.prefix_cache == PrefixCache::kOff) option("--prefix-cache", "off");
  option("--epoch", std::to_string(epoch));
  if (devices.size() > 1) {
    option("--ranks", std::to_string(devices.size()));
    option("--rank", std::to_string(rank));
  }
  if (device.memory_limit_bytes != 0) option("--memory-limit", std::to_string(device.memory_limit_bytes));
  if (!model.chat_template.empty()) option("--chat-template", model.chat_template);
  option("--speculation", model.speculation);
  return command;
}

}  // namespace deepserve::daemon
