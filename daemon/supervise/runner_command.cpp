#include "daemon/supervise/runner_command.h"

namespace deepserve::daemon {

std::vector<DeviceGroup> device_groups(const ModelConfig& model) {
  std::vector<DeviceGroup> groups;
  for (size_t i = 0; i < model.devices.size(); ++i) {
    if (i % model.tensor_parallel == 0) groups.emplace_back();
    groups.back().push_back(model.devices[i]);
  }
  return groups;
}

std::string devices_text(const DeviceGroup& devices) {
  std::string text;
  for (const auto& device : devices) text += (text.empty() ? "" : "+") + device.name;
  return text;
}

std::string runner_id(const ModelConfig& model, const DeviceGroup& devices) {
  return model.name + "@" + devices_text(devices);
}

std::vector<std::string> runner_command(const std::string& binary, const std::string& id,
                                        const ModelConfig& model, const DeviceGroup& devices, uint32_t rank,
                                        uint64_t epoch) {
  const DeviceConfig& device = devices.at(rank);
  std::vector<std::string> command = {binary, "serve"};
  const auto option = [&command](std::string name, std::string value) {
    command.push_back(std::move(name));
    command.push_back(std::move(value));
  };
  option("--name", id);
  option("--model", model.path);
  option("--kind", device.kind);
  option("--cores", fmt::format("{}", fmt::join(device.cores, ",")));
  option("--context-tokens", std::to_string(model.context_tokens));
  option("--kv-bytes", std::to_string(model.kv_memory_bytes));
  option("--kv-type", model.kv_type);
  option("--sequences-max", std::to_string(model.sequences_max));
  option("--step-target-ns", std::to_string(model.step_target_ns));
  option("--step-max-ns", std::to_string(model.step_max_ns));
  if (model.prefix_cache == PrefixCache::kOff) option("--prefix-cache", "off");
  option("--epoch", std::to_string(epoch));
  if (devices.size() > 1) {
    option("--ranks", std::to_string(devices.size()));
    option("--rank", std::to_string(rank));
  }
  if (device.memory_limit_bytes != 0) option("--memory-limit", std::to_string(device.memory_limit_bytes));
  if (!model.chat_template.empty()) option("--chat-template", model.chat_template);
  option("--speculation", model.speculation);
  // Without these words a runner of an earlier build is the same.
  if (!model.deterministic) option("--deterministic", "off");
  if (device.allow_jit) option("--allow-jit", "on");
  return command;
}

bool is_same_runner(std::span<const std::string> running, std::span<const std::string> wanted) {
  if (wanted.size() < kProgramWords) return false;
  const auto of_model = [](std::span<const std::string> words) {
    std::vector<std::string> kept;
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i] == "--load-nice") {
        ++i;
        continue;
      }
      const bool of_one_life = i > 0 && (words[i - 1] == "--epoch" || words[i - 1] == "--orphan-limit-ns");
      kept.push_back(of_one_life ? "" : words[i]);
    }
    return kept;
  };
  return of_model(running) == of_model(wanted.subspan(kProgramWords));
}

}  // namespace deepserve::daemon
