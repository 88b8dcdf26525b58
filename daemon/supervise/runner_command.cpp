#include "daemon/supervise/runner_command.h"

namespace deepserve::daemon {

std::string runner_id(const ModelConfig& model, const DeviceConfig& device) {
  return model.name + "@" + device.name;
}

std::vector<std::string> runner_command(const std::string& binary, const ModelConfig& model,
                                        const DeviceConfig& device, uint64_t epoch) {
  std::vector<std::string> command = {binary, "serve"};
  const auto option = [&command](std::string name, std::string value) {
    command.push_back(std::move(name));
    command.push_back(std::move(value));
  };
  option("--name", runner_id(model, device));
  option("--model", model.path);
  option("--kind", device.kind);
  option("--cores", fmt::format("{}", fmt::join(device.cores, ",")));
  option("--context-tokens", std::to_string(model.context_tokens));
  option("--kv-bytes", std::to_string(model.kv_memory_bytes));
  option("--sequences-max", std::to_string(model.sequences_max));
  option("--step-target-ns", std::to_string(model.step_target_ns));
  if (model.prefix_cache == PrefixCache::kOff) option("--prefix-cache", "off");
  option("--epoch", std::to_string(epoch));
  if (device.memory_limit_bytes != 0) option("--memory-limit", std::to_string(device.memory_limit_bytes));
  if (!model.chat_template.empty()) option("--chat-template", model.chat_template);
  return command;
}

}  // namespace deepserve::daemon
