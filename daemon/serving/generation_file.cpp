#include "daemon/serving/generation_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "ipc/base/fd.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr int kVersion = 4;
constexpr uint64_t kNumberMax = uint64_t{1} << 30;  // of a generation

json::object to_json(const DeviceConfig& device) {
  return {{"name", device.name},
          {"kind", device.kind},
          {"cores", json::array(device.cores.begin(), device.cores.end())},
          {"memory_limit_bytes", device.memory_limit_bytes},
          {"gpu", device.gpu},
          {"thread_percent", device.thread_percent},
          {"allow_jit", device.allow_jit}};
}

json::object to_json(const ModelConfig& settings) {
  json::array devices;
  for (const auto& device : settings.devices) devices.push_back(to_json(device));
  return {{"path", settings.path},
          {"devices", std::move(devices)},
          {"tensor_parallel", settings.tensor_parallel},
          {"context_tokens", settings.context_tokens},
          {"kv_memory_bytes", settings.kv_memory_bytes},
          {"kv_type", settings.kv_type},
          {"sequences_max", settings.sequences_max},
          {"step_target_ns", settings.step_target_ns},
          {"step_max_ns", settings.step_max_ns},
          {"prefix_cache", prefix_cache_name(settings.prefix_cache)},
          {"chat_template", settings.chat_template},
          {"speculation", settings.speculation},
          {"deterministic", settings.deterministic}};
}

json::object to_json(const Generation& facts, const ModelConfig& settings,
                     const std::vector<std::string>& runners) {
  return {{"number", facts.number},
          {"settings", to_json(settings)},
          {"state", generation_state_name(facts.state)},
          {"path", facts.path},
          {"reason", facts.reason},
          {"begun_ns", facts.begun_ns},
          {"ready_ns", facts.ready_ns},
          {"live_ns", facts.live_ns},
          {"ended_ns", facts.ended_ns},
          {"runners", json::array(runners.begin(), runners.end())}};
}

json::object to_json(const KeptModel& kept) {
  json::array generations;
  for (const auto& facts : kept.rollout.history) {
    const auto settings = kept.settings.find(facts.number);
    const auto runners = kept.runners.find(facts.number);
    generations.push_back(
        to_json(facts, settings == kept.settings.end() ? kept.configured : settings->second,
                runners == kept.runners.end() ? std::vector<std::string>() : runners->second));
  }
  return {{"model", kept.model},
          {"slot", kept.slot},
          {"configured", to_json(kept.configured)},
          {"leaves", kept.leaves},
          {"on_demand", kept.on_demand},
          {"judged", kept.judged},
          {"pauses_ns", json::array(kept.pauses_ns.begin(), kept.pauses_ns.end())},
          {"routed", kept.rollout.routed},
          {"before", kept.rollout.before},
          {"canary", kept.rollout.canary},
          {"percent", kept.rollout.percent},
          {"mirrors", kept.rollout.mirrors},
          {"restores", kept.rollout.restores},
          {"generations", std::move(generations)}};
}

std::string text_of(const json::object& object, const char* name) {
  return std::string(object.at(name).as_string());
}

uint32_t number_of(const json::object& object, const char* name) {
  const auto number = json::value_to<uint64_t>(object.at(name));
  if (number > kNumberMax) throw std::out_of_range(name);
  return static_cast<uint32_t>(number);
}

// These throw where it is not what to_json makes.
DeviceConfig device_of(const json::object& object) {
  DeviceConfig device;
  device.name = text_of(object, "name");
  device.kind = text_of(object, "kind");
  for (const auto& core : object.at("cores").as_array())
    device.cores.push_back(json::value_to<uint32_t>(core));
  device.memory_limit_bytes = json::value_to<uint64_t>(object.at("memory_limit_bytes"));
  if (!object.contains("gpu")) return device;  // earlier builds wrote none
  device.gpu = text_of(object, "gpu");
  device.thread_percent = number_of(object, "thread_percent");
  if (const auto* allowed = object.if_contains("allow_jit")) device.allow_jit = allowed->as_bool();
  return device;
}

ModelConfig settings_of(const json::object& object) {
  ModelConfig settings;
  settings.path = text_of(object, "path");
  for (const auto& device : object.at("devices").as_array())
    settings.devices.push_back(device_of(device.as_object()));
  settings.tensor_parallel = number_of(object, "tensor_parallel");
  settings.context_tokens = number_of(object, "context_tokens");
  settings.kv_memory_bytes = json::value_to<uint64_t>(object.at("kv_memory_bytes"));
  settings.kv_type = text_of(object, "kv_type");
  settings.sequences_max = number_of(object, "sequences_max");
  settings.step_target_ns = json::value_to<uint64_t>(object.at("step_target_ns"));
  settings.step_max_ns = json::value_to<uint64_t>(object.at("step_max_ns"));
  settings.chat_template = text_of(object, "chat_template");
  settings.speculation = text_of(object, "speculation");
  if (const auto* exact = object.if_contains("deterministic")) settings.deterministic = exact->as_bool();
  const std::string cache = text_of(object, "prefix_cache");
  for (uint8_t i = 0; i < static_cast<uint8_t>(PrefixCache::kCount); ++i) {
    if (prefix_cache_name(static_cast<PrefixCache>(i)) == cache)
      settings.prefix_cache = static_cast<PrefixCache>(i);
  }
  if (settings.tensor_parallel == 0 || settings.sequences_max == 0) throw std::out_of_range("settings");
  const size_t devices = settings.devices.size();
  if (devices == 0 || devices % settings.tensor_parallel != 0) throw std::out_of_range("devices");
  return settings;
}

Generation generation_of(const json::object& object) {
  const auto time = [&object](const char* name) { return json::value_to<uint64_t>(object.at(name)); };
  Generation facts;
  facts.number = number_of(object, "number");
  const std::string state = text_of(object, "state");
  for (uint8_t i = 0; i < static_cast<uint8_t>(GenerationState::kCount); ++i) {
    if (generation_state_name(static_cast<GenerationState>(i)) == state)
      facts.state = static_cast<GenerationState>(i);
  }
  facts.path = text_of(object, "path");
  facts.reason = text_of(object, "reason");
  facts.begun_ns = time("begun_ns");
  facts.ready_ns = time("ready_ns");
  facts.live_ns = time("live_ns");
  facts.ended_ns = time("ended_ns");
  return facts;
}

KeptModel from_json(const json::object& object) {
  KeptModel kept;
  kept.model = text_of(object, "model");
  kept.slot = number_of(object, "slot");
  kept.configured = settings_of(object.at("configured").as_object());
  kept.leaves = object.at("leaves").as_bool();
  kept.on_demand = object.at("on_demand").as_bool();
  kept.judged = object.at("judged").as_bool();
  if (const auto* pauses = object.if_contains("pauses_ns"))  // earlier builds wrote none
    kept.pauses_ns = json::value_to<std::vector<uint64_t>>(*pauses);
  kept.rollout.routed = number_of(object, "routed");
  kept.rollout.before = number_of(object, "before");
  kept.rollout.canary = number_of(object, "canary");
  kept.rollout.percent = json::value_to<double>(object.at("percent"));
  if (const auto* mirrors = object.if_contains("mirrors")) kept.rollout.mirrors = mirrors->as_bool();
  kept.rollout.restores = object.at("restores").as_bool();
  for (const auto& row : object.at("generations").as_array()) {
    const Generation facts = generation_of(row.as_object());
    if (facts.number == 0 || kept.runners.contains(facts.number)) throw std::out_of_range("number");
    kept.settings.emplace(facts.number, settings_of(row.at("settings").as_object()));
    auto& runners = kept.runners[facts.number];
    for (const auto& id : row.at("runners").as_array()) runners.emplace_back(id.as_string());
    kept.rollout.history.push_back(facts);
  }
  return kept;
}

}  // namespace

Result<void> write_generations(const std::string& file, const std::vector<KeptModel>& models) {
  json::array rows;
  for (const auto& kept : models) rows.push_back(to_json(kept));
  const std::string text = json::serialize(json::object{{"version", kVersion}, {"models", rows}}) + "\n";
  const std::string fresh = file + ".new";
  ::unlink(fresh.c_str());  // another build's may be open to others
  const Fd out(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out || ::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(fresh.c_str(), file.c_str()) != 0) {
    return fail_errno(fmt::format("cannot write '{}'", file));
  }
  return {};
}

std::vector<KeptModel> read_generations(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  std::vector<KeptModel> kept;
  try {
    const json::object whole = json::parse(text.str()).as_object();
    if (json::value_to<int>(whole.at("version")) != kVersion) return {};
    for (const auto& row : whole.at("models").as_array()) kept.push_back(from_json(row.as_object()));
  } catch (const std::exception&) {
    return {};
  }
  return kept;
}

}  // namespace deepserve::daemon
