// Reading and validating the configuration file; its schema is in this file and nowhere else.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "daemon/config/config.h"
#include "daemon/config/device_section.h"
#include "daemon/config/toml_section.h"
#include "daemon/config/units.h"
#include "ipc/rank_group/group_memory.h"

namespace deepserve::daemon {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileBytesMax = 1 << 20;
constexpr size_t kNameBytesMax = 64;
constexpr uint64_t kHour_ns = 3600 * kSecond_ns;

// Names appear in runner ids ("tiny@cpu0"), URLs and metric labels.
bool is_name(std::string_view name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-";
  return !name.empty() && name.size() <= kNameBytesMax &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

class Loader {
 public:
  Loader(const fs::path& file, const ConfigSurroundings& surroundings) : surroundings_(surroundings) {
    config_.file = fs::absolute(file).lexically_normal();
    config_.runtime_dir = fs::absolute(surroundings.runtime_dir).lexically_normal();
    config_.state_dir = fs::absolute(surroundings.state_dir).lexically_normal();
    constexpr double kShares[kClasses] = {0.70, 0.25, 0.05};
    constexpr uint64_t kDeadlines_ns[kClasses] = {500 * kMillisecond_ns, 5 * kSecond_ns, 600 * kSecond_ns};
    constexpr uint32_t kQueueMax[kClasses] = {256, 1024, 4096};
    for (size_t i = 0; i < kClasses; ++i) config_.classes[i] = {kShares[i], kDeadlines_ns[i], kQueueMax[i]};
    config_.server.listen = {unix_address("api.sock")};
    config_.server.control = unix_address("ctl.sock");
  }

  tl::expected<Config, ConfigProblems> load(const toml::table& root);

 private:
  ListenAddress unix_address(const std::string& path) const {
    return {.unix_path = (fs::path(config_.runtime_dir) / path).lexically_normal(), .host = "", .port = 0};
  }
  ListenAddress parse_address(const std::string& text, const toml::node* node, Section& section);
  void read_server(Section section);
  void read_observe(Section section);
  void read_supervise(Section section);
  void read_device(Section section);
  void read_model(Section section);
  void read_model_devices(Section& section, const toml::node* node, ModelConfig& model);
  static void read_prefix_cache(Section& section, ModelConfig& model);
  void read_determinism(Section& section, ModelConfig& model);
  void read_fallback(Section& section, ModelConfig& model);
  void check_fallbacks(Section& root);
  void check_groups(Section& root);
  void read_classes(const toml::table& table);
  void read_api_keys(Section& section, const toml::node& node, ClientConfig& client);
  void read_client(Section section);
  static void read_cgroup(Section& section, ClientConfig& client);
  static void read_agreement(Section& section, ClientConfig& client);
  std::string read_name(Section& section, std::set<std::string>& taken, std::string_view kind);
  template <typename Read>
  void for_table(Section& root, std::string_view key, Read read);
  template <typename Read>
  void for_tables(Section& root, std::string_view key, Read read);

  const ConfigSurroundings& surroundings_;
  Config config_;
  ConfigProblems problems_;
  std::set<std::string> device_names_, model_names_, client_names_;
  std::set<KeyDigest> key_digests_;
  struct OfModel {  // to be checked once all is read
    const toml::node* node;
    size_t model;  // its place in config_.models
  };
  std::vector<OfModel> fallbacks_;
  std::vector<OfModel> groups_;           // of tensor_parallel
  const toml::node* tcp_node_ = nullptr;  // of server.listen, when it names an address over TCP
};

tl::expected<Config, ConfigProblems> Loader::load(const toml::table& table) {
  Section root(table, "", problems_);
  for_table(root, "server", [&](Section section) { read_server(std::move(section)); });
  for_table(root, "observe", [&](Section section) { read_observe(std::move(section)); });
  for_table(root, "supervise", [&](Section section) { read_supervise(std::move(section)); });
  for_tables(root, "device", [&](Section section) { read_device(std::move(section)); });
  for_tables(root, "model", [&](Section section) { read_model(std::move(section)); });
  if (const auto* node = root.take("class")) {
    if (const auto* classes = node->as_table()) {
      read_classes(*classes);
    } else {
      root.problem(node,
                   fmt::format("class: expected tables like [class.vip], found {}", toml_type_name(*node)));
    }
  }
  for_tables(root, "client", [&](Section section) { read_client(std::move(section)); });
  root.finish();
  if (tcp_node_ != nullptr && key_digests_.empty()) {
    root.problem(tcp_node_, "server.listen: nobody could use TCP: no [[client]] has an api_key_sha256");
  }
  check_fallbacks(root);
  check_groups(root);
  if (config_.devices.empty()) root.problem(nullptr, "there is no [[device]]: nothing can run");
  if (config_.models.empty()) root.problem(nullptr, "there is no [[model]]: nothing can be served");
  std::stable_sort(problems_.begin(), problems_.end(), [](const auto& a, const auto& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  if (std::all_of(problems_.begin(), problems_.end(), [](const auto& one) { return one.is_warning; })) {
    config_.warnings = std::move(problems_);
    return std::move(config_);
  }
  return tl::unexpected(std::move(problems_));
}

template <typename Read>
void Loader::for_table(Section& root, std::string_view key, Read read) {
  const auto* node = root.take(key);
  if (node == nullptr) return;
  if (const auto* table = node->as_table()) {
    read(Section(*table, std::string(key), problems_));
  } else {
    root.problem(node,
                 fmt::format("{}: expected a table like [{}], found {}", key, key, toml_type_name(*node)));
  }
}

template <typename Read>
void Loader::for_tables(Section& root, std::string_view key, Read read) {
  const auto* node = root.take(key);
  if (node == nullptr) return;
  const auto* array = node->as_array();
  if (array == nullptr) {
    root.problem(node,
                 fmt::format("{}: expected tables like [[{}]], found {}", key, key, toml_type_name(*node)));
    return;
  }
  for (const auto& item : *array) {
    if (const auto* table = item.as_table()) {
      read(Section(*table, std::string(key), problems_));
    } else {
      root.problem(&item, fmt::format("{}: expected tables like [[{}]]", key, key));
    }
  }
}

// "unix:PATH", "HOST:PORT" or "[::1]:PORT"; problems are reported at `node`.
ListenAddress Loader::parse_address(const std::string& text, const toml::node* node, Section& section) {
  constexpr size_t kUnixPathMax = 107;  // sockaddr_un, without its zero
  if (text.starts_with("unix:")) {
    auto address = unix_address(text.substr(5));
    if (text.size() == 5) section.problem(node, "'unix:' needs a path");
    if (address.unix_path.size() > kUnixPathMax) {
      section.problem(node, fmt::format("'{}' is longer than the {} bytes of a Unix socket's address",
                                        address.unix_path, kUnixPathMax));
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? text : text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const bool has_port = colon != std::string::npos &&
                        std::from_chars(text.data() + colon + 1, end, port).ptr == end && port != 0;
  if (!has_port) {
    section.problem(node, fmt::format("'{}' is no address: write \"unix:NAME\" or \"127.0.0.1:PORT\"", text));
  } else if (host != "127.0.0.1" && host != "::1") {
    section.problem(node, fmt::format("'{}': only loopback (127.0.0.1 or ::1) is allowed over TCP", text));
  } else {
    return {.unix_path = "", .host = host, .port = port};
  }
  return {};
}

void Loader::read_server(Section section) {
  const auto* listen_node = section.take("listen");
  std::vector<std::string> listen;
  section.read_strings("listen", listen);
  if (listen_node != nullptr && listen_node->is_array()) {
    config_.server.listen.clear();
    for (const auto& text : listen) {
      auto address = parse_address(text, listen_node, section);
      if (address.is_tcp() && tcp_node_ == nullptr) tcp_node_ = listen_node;
      config_.server.listen.push_back(std::move(address));
    }
    if (listen.empty())
      section.problem(listen_node, "server.listen: the list is empty: nobody could ask anything");
  }
  const auto* control_node = section.take("control");
  std::string control;
  section.read("control", control);
  if (!control.empty()) {
    config_.server.control = parse_address(control, control_node, section);
    if (config_.server.control.is_tcp())
      section.problem(control_node, "server.control: only \"unix:PATH\" is allowed");
  }
  for (const auto& address : config_.server.listen) {
    if (address.is_unix() && address.unix_path == config_.server.control.unix_path) {
      section.problem(control_node != nullptr ? control_node : listen_node,
                      fmt::format("server: '{}' is both a socket to listen on and the control socket",
                                  address.unix_path));
    }
  }
  section.read_duration("drain_limit", 0, kHour_ns, config_.server.drain_limit_ns);
  section.read_duration("request_timeout", 0, 24 * kHour_ns, config_.server.request_timeout_ns);
  section.finish();
}

void Loader::read_observe(Section section) {
  const auto* node = section.take("listen");
  std::string listen;
  section.read("listen", listen);
  if (!listen.empty()) config_.observe.listen = parse_address(listen, node, section);
  section.finish();
}

void Loader::read_supervise(Section section) {
  auto& out = config_.supervise;
  section.read_integer("deaths_max", 0, 1000, out.deaths_max);
  section.read_duration("window", kSecond_ns, 24 * kHour_ns, out.window_ns);
  section.read_duration("hang_after", kSecond_ns, kHour_ns, out.hang_after_ns);
  section.read_duration("load_hang_after", kSecond_ns, kHour_ns, out.load_hang_after_ns);
  section.read_duration("orphan_limit", 100 * kMillisecond_ns, kHour_ns, out.orphan_limit_ns);
  section.finish();
}

std::string Loader::read_name(Section& section, std::set<std::string>& taken, std::string_view kind) {
  std::string name;
  const auto* node = section.require("name");
  section.read("name", name);
  if (node == nullptr || !node->is_string()) return name;
  if (!is_name(name)) {
    section.problem(node, fmt::format("{}.name: '{}' is no name: 1 to {} of letters, digits and . _ : / -",
                                      kind, name, kNameBytesMax));
  } else if (!taken.insert(name).second) {
    section.problem(node, fmt::format("{}.name: '{}' is there twice", kind, name));
  }
  return name;
}

void Loader::read_device(Section section) {
  DeviceConfig device;
  device.name = read_name(section, device_names_, "device");
  read_device_keys(section, surroundings_, config_.devices, device);
  section.finish();
  config_.devices.push_back(std::move(device));
}

void Loader::read_model_devices(Section& section, const toml::node* node, ModelConfig& model) {
  std::vector<std::string> names;
  section.read_strings("devices", names);
  if (node == nullptr) return;
  std::set<std::string> seen;
  for (const auto& device : names) {
    const auto known = std::find_if(config_.devices.begin(), config_.devices.end(),
                                    [&device](const auto& one) { return one.name == device; });
    if (known != config_.devices.end()) model.devices.push_back(*known);
    if (!device_names_.empty() && !device_names_.contains(device)) {
      section.problem(node, fmt::format("model.devices: there is no device '{}'; there are: {}", device,
                                        fmt::join(device_names_, ", ")));
    }
    if (!seen.insert(device).second) {
      section.problem(node, fmt::format("model.devices: '{}' is there twice", device));
    }
  }
  if (node->is_array() && node->as_array()->empty())
    section.problem(node, "model.devices: the list is empty");
  const auto* parallel_node = section.take("tensor_parallel");
  section.read_integer("tensor_parallel", 1, ipc::kRanksMax, model.tensor_parallel);
  if (parallel_node != nullptr && names.size() % model.tensor_parallel != 0) {
    section.problem(parallel_node,
                    fmt::format("model.tensor_parallel: {} devices cannot be parted into groups of {}",
                                names.size(), model.tensor_parallel));
  }
  if (model.tensor_parallel > 1) groups_.push_back({parallel_node, config_.models.size()});
}

// Once all devices and models are known.
void Loader::check_groups(Section& root) {
  for (const auto& [node, index] : groups_) {
    const auto trouble = group_trouble(config_, config_.models[index]);
    if (!trouble.empty()) root.problem(node, "model.tensor_parallel: " + trouble);
  }
}

void Loader::read_model(Section section) {
  ModelConfig model;
  model.name = read_name(section, model_names_, "model");
  const auto* aliases_node = section.take("aliases");
  section.read_strings("aliases", model.aliases);
  for (const auto& alias : model.aliases) {
    if (!is_name(alias)) {
      section.problem(aliases_node, fmt::format("model.aliases: '{}' is no name", alias));
    } else if (!model_names_.insert(alias).second) {
      section.problem(aliases_node,
                      fmt::format("model.aliases: '{}' is a model's name or alias already", alias));
    }
  }
  const auto* path_node = section.require("path");
  section.read("path", model.path);
  if (path_node != nullptr && path_node->is_string()) {
    model.path = (fs::path(config_.file).parent_path() / model.path).lexically_normal();
    std::error_code error;
    if (!fs::exists(model.path, error)) {
      section.problem(path_node, fmt::format("model.path: there is no '{}'", model.path));
    }
  }
  read_model_devices(section, section.require("devices"), model);
  section.read_integer("context_tokens", 16, 1 << 24, model.context_tokens);
  section.read_size("kv_memory", 1 << 20, uint64_t{1} << 50, model.kv_memory_bytes);
  const auto* kv_type_node = section.take("kv_type");
  section.read("kv_type", model.kv_type);
  if (model.kv_type != "f32" && model.kv_type != "f16" && model.kv_type != "q8") {
    section.problem(kv_type_node, fmt::format("model.kv_type: '{}' is not known: \"f32\", \"f16\" or \"q8\"",
                                              model.kv_type));
  }
  section.read_integer("sequences_max", 1, 4096, model.sequences_max);
  section.read_duration("step_target", 0, 10 * kSecond_ns, model.step_target_ns);
  section.read_duration("keep_alive", 0, 365 * 24 * 3600 * kSecond_ns, model.keep_alive_ns);
  section.read_duration("keep_warm", 0, 24 * 3600 * kSecond_ns, model.keep_warm_ns);
  const auto* step_max_node = section.take("step_max");
  section.read_duration("step_max", kMillisecond_ns, 10 * kSecond_ns, model.step_max_ns);
  if (2 * model.step_max_ns > config_.supervise.hang_after_ns) {
    section.problem(step_max_node, fmt::format("model.step_max: {} is more than half of supervise.hang_after",
                                               duration_text(model.step_max_ns)));
  }
  read_prefix_cache(section, model);
  const auto* template_node = section.take("chat_template");
  section.read("chat_template", model.chat_template);
  const auto& chosen = model.chat_template;
  if (!chosen.empty() && chosen != "chatml" && chosen != "llama3" && chosen != "deepseek-r1") {
    section.problem(template_node,
                    fmt::format("model.chat_template: '{}' is not known: \"chatml\", \"llama3\" or "
                                "\"deepseek-r1\"",
                                chosen));
  }
  const auto* speculation_node = section.take("speculation");
  section.read("speculation", model.speculation);
  if (model.speculation != "auto" && model.speculation != "off") {
    section.problem(speculation_node, fmt::format("model.speculation: '{}' is not known: \"auto\" or \"off\"",
                                                  model.speculation));
  }
  read_determinism(section, model);
  read_fallback(section, model);
  section.finish();
  config_.models.push_back(std::move(model));
}

void Loader::read_determinism(Section& section, ModelConfig& model) {
  const auto* node = section.take("deterministic");
  section.read("deterministic", model.deterministic);
  const bool on_gpu = std::any_of(model.devices.begin(), model.devices.end(),
                                  [](const auto& device) { return device.is_gpu(); });
  if (!model.deterministic && !on_gpu && !model.devices.empty())
    section.warning(node, "model.deterministic: false changes nothing on a CPU, which always is");
}

void Loader::read_fallback(Section& section, ModelConfig& model) {
  constexpr size_t kReplyBytesMax = 16 * 1024;
  if (const auto* node = section.take("fallback")) {
    section.read_strings("fallback", model.fallback);
    fallbacks_.push_back({node, config_.models.size()});
  }
  const auto* reply_node = section.take("fallback_reply");
  section.read("fallback_reply", model.fallback_reply);
  if (model.fallback_reply.size() > kReplyBytesMax) {
    section.problem(reply_node, fmt::format("model.fallback_reply: longer than {} bytes", kReplyBytesMax));
  }
}

// Once all models are known.
void Loader::check_fallbacks(Section& root) {
  for (const auto& [node, index] : fallbacks_) {
    const auto& model = config_.models[index];
    for (const auto& name : model.fallback) {
      const auto* other = name.empty() ? nullptr : config_.find_model(name);
      if (other == nullptr) {
        root.problem(node, fmt::format("model.fallback: there is no model '{}'", name));
      } else if (other == &model) {
        root.problem(node, fmt::format("model.fallback: '{}' is this model itself", name));
      }
    }
  }
}

void Loader::read_prefix_cache(Section& section, ModelConfig& model) {
  const auto* node = section.take("prefix_cache");
  std::string text(prefix_cache_name(model.prefix_cache));
  section.read("prefix_cache", text);
  for (uint8_t number = 0; number < static_cast<uint8_t>(PrefixCache::kCount); ++number) {
    const auto value = static_cast<PrefixCache>(number);
    if (text != prefix_cache_name(value)) continue;
    model.prefix_cache = value;
    return;
  }
  section.problem(node, fmt::format("model.prefix_cache: '{}' is not known: \"shared\", \"per_client\" or "
                                    "\"off\"",
                                    text));
}

void Loader::read_classes(const toml::table& table) {
  Section classes(table, "class", problems_);
  for (size_t i = 0; i < kClasses; ++i) {
    const std::string name(ipc::class_name(static_cast<ipc::Class>(i)));
    const auto* node = classes.take(name);
    if (node == nullptr) continue;
    const auto* one = node->as_table();
    if (one == nullptr) {
      classes.problem(node, fmt::format("class.{}: expected a table, found {}", name, toml_type_name(*node)));
      continue;
    }
    Section section(*one, "class." + name, problems_);
    section.read_number("share", 0.0, 1.0, config_.classes[i].share);
    section.read_duration("deadline", kMillisecond_ns, 24 * kHour_ns, config_.classes[i].deadline_ns);
    section.read_integer("queue_max", 1, 1'000'000, config_.classes[i].queue_max);
    section.finish();
  }
  classes.finish();
  double sum = 0;
  for (const auto& one : config_.classes) sum += one.share;
  if (sum > 1.0 + 1e-9) {
    classes.problem(
        nullptr,
        fmt::format("class: the shares of vip, normal and batch add up to {:.2f}, more than 1", sum));
  }
}

// One digest, or a list of them while an old key and its successor are both in use.
void Loader::read_api_keys(Section& section, const toml::node& node, ClientConfig& client) {
  std::vector<std::string> digests;
  if (node.is_string()) {
    section.read("api_key_sha256", digests.emplace_back());
  } else {
    section.read_strings("api_key_sha256", digests);
  }
  for (const auto& text : digests) {
    const auto digest = parse_key_digest(text);
    if (!digest) {
      section.problem(&node,
                      "client.api_key_sha256: expected the 64 hexadecimal digits of a key's SHA-256 "
                      "(printf %s KEY | sha256sum)");
    } else if (!key_digests_.insert(*digest).second) {
      section.problem(&node, "client.api_key_sha256: this key is there twice");
    } else {
      client.api_keys.push_back(*digest);
    }
  }
}

void Loader::read_cgroup(Section& section, ClientConfig& client) {
  const auto* node = section.take("cgroup");
  section.read("cgroup", client.cgroup);
  if (node == nullptr || !node->is_string()) return;
  const auto& path = client.cgroup;
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') {
    section.problem(node, fmt::format("client.cgroup: '{}' is no cgroup below the root: write it as "
                                      "/proc/PID/cgroup does, \"/user.slice/user-1000.slice\"",
                                      path));
  }
}

void Loader::read_agreement(Section& section, ClientConfig& client) {
  const auto* node = section.take("accept_degraded");
  std::vector<std::string> words;
  section.read_strings("accept_degraded", words);
  for (const auto& word : words) {
    if (agree(client.agreement, word)) continue;
    section.problem(node,
                    fmt::format("client.accept_degraded: '{}' is not known: {}", word, kAgreementWords));
  }
}

void Loader::read_client(Section section) {
  ClientConfig client;
  client.name = read_name(section, client_names_, "client");
  if (client.name == "unknown" || client.name.starts_with("uid:")) {
    section.problem(
        section.take("name"),
        fmt::format("client.name: '{}' is what callers without an entry are called", client.name));
  }
  for (auto [key, out] : {std::pair{"uid", &client.uid}, std::pair{"gid", &client.gid}}) {
    if (section.take(key) == nullptr) continue;
    uint32_t id = 0;
    section.read_integer(key, 0, 0xffffffffu, id);
    *out = id;
  }
  read_cgroup(section, client);
  read_agreement(section, client);
  const auto* keys_node = section.take("api_key_sha256");
  if (keys_node != nullptr) read_api_keys(section, *keys_node, client);
  if (!client.uid && !client.gid && client.cgroup.empty() && keys_node == nullptr) {
    section.problem(nullptr,
                    "client: name a uid, a gid or an api_key_sha256, or a cgroup, that it is known by");
  }
  std::string class_text;
  const auto* class_node = section.take("class");
  section.read("class", class_text);
  if (!class_text.empty()) {
    const auto parsed = ipc::class_from_name(class_text);
    if (parsed) {
      client.class_ceiling = *parsed;
    } else {
      section.problem(class_node, "client.class: " + parsed.error().message);
    }
  }
  section.read_number("weight", 0.0, 1000.0, client.weight);
  section.read_integer("max_concurrent", 1, 1'000'000, client.concurrent_max);
  section.read_integer("tokens_per_minute", 1, uint64_t{1} << 40, client.tokens_per_minute);
  section.read("trusted_proxy", client.trusted_proxy);
  section.finish();
  config_.clients.push_back(std::move(client));
}

}  // namespace

tl::expected<Config, ConfigProblems> load_config(const std::string& file,
                                                 const ConfigSurroundings& surroundings) {
  const auto whole_file = [](std::string message) {
    return tl::unexpected(ConfigProblems{ConfigProblem{0, 0, std::move(message)}});
  };
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return whole_file(fmt::format("there is no file '{}'", file));
  if (fs::file_size(file, error) > kFileBytesMax) {
    return whole_file(fmt::format("'{}' is larger than {} bytes", file, kFileBytesMax));
  }
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in) return whole_file(fmt::format("'{}' cannot be read", file));
  return parse_config(file, std::move(text).str(), surroundings);
}

tl::expected<Config, ConfigProblems> parse_config(const std::string& file, std::string text,
                                                  const ConfigSurroundings& surroundings) {
  const auto parsed = toml::parse(text, file);
  if (!parsed) {
    const auto& begin = parsed.error().source().begin;
    return tl::unexpected(
        ConfigProblems{ConfigProblem{begin.line, begin.column, std::string(parsed.error().description())}});
  }
  auto config = Loader(file, surroundings).load(parsed.table());
  if (config) config->text = std::move(text);
  return config;
}

}  // namespace deepserve::daemon
