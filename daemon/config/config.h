// The configuration of dsd (DESIGN 11): one TOML file, read and validated as a whole; a reload puts another
// one in its place.
//
// load_config reports every problem that it finds, each with its place in the file; a Config that exists is
// valid: names are unique, references resolve, paths exist, relative names are made absolute.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/agreement.h"
#include "daemon/config/api_key.h"
#include "daemon/config/prefix_cache.h"
#include "daemon/gpu/gpus.h"
#include "ipc/base/clock.h"
#include "ipc/base/result.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

inline constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

// Where dsd listens. Exactly one of the two forms is filled; an empty one means "off".
struct ListenAddress {
  std::string unix_path;  // absolute
  std::string host;       // 127.0.0.1 or ::1
  uint16_t port = 0;

  bool operator==(const ListenAddress&) const = default;
  bool is_unix() const { return !unix_path.empty(); }
  bool is_tcp() const { return !host.empty(); }
  std::string text() const;  // as the config writes it
};

struct ServerConfig {
  std::vector<ListenAddress> listen;
  ListenAddress control;
  uint64_t drain_limit_ns = 25 * kSecond_ns;  // how long running requests may go on after SIGTERM
  uint64_t request_timeout_ns = 0;            // of a whole answer, unless the request names its own; 0: none
};

struct ObserveConfig {
  ListenAddress listen;  // /metrics over TCP on loopback; off unless configured
};

struct SuperviseConfig {
  uint32_t deaths_max = 5;  // more than so many blamed deaths within `window` end in `failed`
  uint64_t window_ns = 60 * kSecond_ns;
  uint64_t hang_after_ns = 10 * kSecond_ns;  // a ready runner whose step counter stands still so long is hung
  uint64_t load_hang_after_ns =
      60 * kSecond_ns;                         // the same while it loads, judged by the bytes it has loaded
  uint64_t orphan_limit_ns = 30 * kSecond_ns;  // so long a runner without a dsd waits for the next one
};

struct DeviceConfig {
  std::string name;
  std::string kind;                 // "cpu", "cuda"
  std::vector<uint32_t> cores;      // never empty; all of the cpuset unless configured
  uint64_t memory_limit_bytes = 0;  // of a GPU: its memory; 0: none
  std::string gpu = {};             // "cuda": its number on the PCI bus ("0"), or its UUID ("GPU-8f3a...")
  uint32_t thread_percent = 100;    // "cuda": of the GPU's multiprocessors, where it is shared
  bool allow_jit = false;           // "cuda": its driver may compile what there is no machine code for

  bool operator==(const DeviceConfig&) const = default;
  bool is_gpu() const { return kind == "cuda"; }
};

struct ModelConfig {
  std::string name;
  std::vector<std::string> aliases;
  std::string path;                   // absolute
  std::vector<DeviceConfig> devices;  // as they were when this was read: its runners have that of them too
  uint32_t tensor_parallel = 1;       // so many devices, in order, serve it together; divides their number
  uint32_t context_tokens = 0;        // 0: the model's own
  uint64_t kv_memory_bytes = uint64_t{1} << 30;
  std::string kv_type = "f16";  // what the KV cache stores its numbers as: "f32", "f16" or "q8"
  uint32_t sequences_max = 64;
  uint64_t step_target_ns = 25 * kMillisecond_ns;  // of prefill in a step in which others decode; 0: no limit
  uint64_t step_max_ns = 100 * kMillisecond_ns;  // of a step of prefill alone, and of decodes beside vip work
  PrefixCache prefix_cache = PrefixCache::kShared;
  std::string chat_template;         // empty: what the file says
  std::string speculation = "auto";  // drafts tokens where that pays; "off"
  // On a GPU: bits do not depend on a step's shape (DESIGN 8). false: a library may choose by the shape, and
  // a replay may go on in other words.
  bool deterministic = true;
  // While the circuit breaker keeps requests away from it: other models, the first that serves, and if none
  // does this text as the answer. Both empty: 503.
  std::vector<std::string> fallback;
  std::string fallback_reply;
  // How long the generation before the one that serves stays loaded, for a rollback at once; 0: it ends when
  // it is drained.
  uint64_t keep_warm_ns = 60 * kSecond_ns;
  uint64_t keep_alive_ns = 0;  // it is unloaded after so long without a request; 0: never
};

// Whether a replay of a request says what the first try would have said: not on GPUs without `deterministic`.
bool replays_exactly(const ModelConfig& model);

struct ClassConfig {
  double share = 0;
  uint64_t deadline_ns = 0;  // for the first token, unless the request names one
  uint32_t queue_max = 0;    // requests of one model that may wait
};

struct ClientConfig {
  std::string name;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::string cgroup = {};          // "/user.slice/..."; also all below it; empty: any
  std::vector<KeyDigest> api_keys;  // SHA-256 of each; several while one takes the other's place
  ipc::Class class_ceiling = ipc::Class::kNormal;  // the highest it may ask for
  double weight = 1.0;
  uint32_t concurrent_max = 0;     // of its requests that wait or run; 0: no limit
  uint64_t tokens_per_minute = 0;  // of prompts and answers; 0: no limit
  bool trusted_proxy = false;      // it may name its end users: each is a client by itself then
  Agreement agreement = {};        // of its requests that say nothing of it themselves
};

// What is wrong with a file, and where. Line and column start at 1; 0 is "the whole file".
struct ConfigProblem {
  uint32_t line = 0;
  uint32_t column = 0;
  std::string message;
  bool is_warning = false;  // it may be wrong: it could not be checked here
};
using ConfigProblems = std::vector<ConfigProblem>;

struct Config {
  std::string file;         // absolute
  std::string text;         // what it was read from
  std::string runtime_dir;  // absolute
  std::string state_dir;    // absolute
  ServerConfig server;
  ObserveConfig observe;
  SuperviseConfig supervise;
  std::vector<DeviceConfig> devices;
  std::vector<ModelConfig> models;  // never empty; the first is the default
  std::array<ClassConfig, kClasses> classes;
  std::vector<ClientConfig> clients;
  ConfigProblems warnings;  // nothing but warnings

  // Whether a client is known by its cgroup.
  bool asks_cgroups() const;
  // By name or alias; an empty name is the default model. nullptr: there is none.
  const ModelConfig* find_model(std::string_view name) const;
  // Whether more than one runner works on that GPU, or one has but a part of it. What is loaded beside what
  // it replaces does not count.
  bool is_shared(std::string_view gpu) const;
};

// What the file is checked against: where dsd runs, and what this host has.
struct ConfigSurroundings {
  std::string runtime_dir;
  std::string state_dir;
  std::vector<uint32_t> cpuset;  // cores that this host's cpuset allows
  // Its GPUs, or why nobody knows; asked only for a device that is one, each time anew. Empty: devices are
  // not held against them, and nothing is said of it.
  std::function<Result<GpuInventory>()> gpus = {};
};

// Reads and validates `file`. On failure: at least one problem that is no warning, in the order of the file.
tl::expected<Config, ConfigProblems> load_config(const std::string& file,
                                                 const ConfigSurroundings& surroundings);

// The same for a text that is taken for that of `file`: relative paths lie beside it.
tl::expected<Config, ConfigProblems> parse_config(const std::string& file, std::string text,
                                                  const ConfigSurroundings& surroundings);

// "FILE:LINE:COLUMN: message" for each, one a line; "... warning: message".
std::string problems_text(const std::string& file, const ConfigProblems& problems);
// {"ok": bool, "path": ..., "errors": [{"line", "column", "message"}], "warnings": [...]}
std::string problems_json(const std::string& file, const ConfigProblems& problems);
// The effective configuration, as JSON with the keys of the file.
std::string config_json(const Config& config);

// Whom an API key belongs to; null when it is nobody's. Every configured key is compared, in constant time.
const ClientConfig* find_client_by_key(const Config& config, std::string_view key);

// Who asks is to us.
struct ClientMatch {
  std::string name;  // the configured name, or "uid:1000"
  ipc::Class class_ceiling = ipc::Class::kNormal;
  double weight = 1.0;
  uint32_t concurrent_max = 0;     // 0: no limit
  uint64_t tokens_per_minute = 0;  // 0: no limit
  bool trusted_proxy = false;
  Agreement agreement = {};
};

// What is known of who asks: the socket's peer, and the client whose API key came along.
struct Caller {
  bool peer_known = false;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string_view key_client;   // its configured name; empty: no key, or nobody's
  std::string_view cgroup = {};  // of the peer's process; empty: not known
};

// The client whose key it is, else the first [[client]] whose uid, gid and cgroup (those that it names) are
// the peer's. With no [[client]] at all every local peer may use vip; with some, an unmatched peer's ceiling
// is normal.
ClientMatch match_client(const Config& config, const Caller& caller);

}  // namespace deepserve::daemon
