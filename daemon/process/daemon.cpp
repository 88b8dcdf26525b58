#include "daemon/process/daemon.h"

#include <grp.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "daemon/api/api.h"
#include "daemon/api/control.h"
#include "daemon/http/listener.h"
#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/loop/loop.h"
#include "daemon/observe/metrics.h"
#include "daemon/process/descriptors.h"
#include "daemon/process/inherited_sockets.h"
#include "daemon/process/runtime_dir.h"
#include "daemon/process/service_manager.h"
#include "daemon/process/ticket_key.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kLastWords_ms =
    2'000;  // for the answers that are on their way when everything else has stopped
constexpr uint64_t kStatus_ms = 5'000;

// The listening sockets of both kinds, opened before anything else can go wrong.
struct Sockets {
  std::vector<Fd> api;
  Fd control;
  Fd observe;
};

// Request ids start at a random place, so that two lives of dsd do not speak of different requests by one
// name.
RequestId random_first_request() {
  uint64_t random = 0;
  CHECK(::getrandom(&random, sizeof random, 0) == sizeof random);
  return (random & 0x7fffffff'ffffull << 16) | 1;
}

// Prompts are in our memory: no core file may carry them to a disk.
void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) spdlog::warn("cannot forbid core files: they would hold prompts");
}

// glibc raises its thresholds by itself after the first large body, and keeps the memory then.
void give_memory_back() {
  constexpr int kThreshold_bytes = 128 << 10;
  ::mallopt(M_MMAP_THRESHOLD, kThreshold_bytes);
  ::mallopt(M_TRIM_THRESHOLD, kThreshold_bytes);
}

// api.sock belongs to the group deepserve where that exists, so that its members may connect.
void give_to_group(const std::string& path) {
  const group* deepserve_group = ::getgrnam("deepserve");
  if (deepserve_group == nullptr) return;
  if (::chown(path.c_str(), static_cast<uid_t>(-1), deepserve_group->gr_gid) != 0) {
    spdlog::warn("{} stays with our own group: chown failed", path);
  }
}

Result<Sockets> open_sockets(const Config& config) {
  Sockets sockets;
  for (auto& inherited : take_inherited_sockets()) {
    TRY(adopt_listener(inherited.socket));
    if (inherited.name == "api") {
      sockets.api.push_back(std::move(inherited.socket));
    } else if (inherited.name == "ctl") {
      sockets.control = std::move(inherited.socket);
    } else {
      return fail(Code::kInvalidConfig,
                  "systemd passed a socket named '{}': only \"api\" and \"ctl\" are known", inherited.name);
    }
  }
  // systemd passes Unix sockets alone; the addresses over TCP are ours in either case.
  const bool unix_inherited = !sockets.api.empty();
  for (const auto& address : config.server.listen) {
    if (address.is_tcp()) {
      TRY_ASSIGN(sockets.api.emplace_back(), bind_loopback(address.text()));
    } else if (!unix_inherited) {
      TRY_ASSIGN(sockets.api.emplace_back(), bind_unix(address.unix_path, 0660));
      give_to_group(address.unix_path);
    }
  }
  if (!sockets.control) {
    TRY_ASSIGN(sockets.control, bind_unix(config.server.control.unix_path, 0600));
  }
  if (config.observe.listen.is_tcp()) {
    // A port that somebody else has must not keep models from being served; /metrics is on api.sock as well.
    auto socket = bind_loopback(config.observe.listen.text());
    if (socket) {
      sockets.observe = std::move(*socket);
    } else {
      spdlog::error("no /metrics over TCP: {}", socket.error().message);
    }
  } else if (config.observe.listen.is_unix()) {
    TRY_ASSIGN(sockets.observe, bind_unix(config.observe.listen.unix_path, 0660));
  }
  return sockets;
}

// Whose key the request shows. Over a Unix socket the peer's uid is enough: a key that is nobody's is not
// looked at, as OpenAI's libraries always send one. Over TCP nothing but a key tells who asks; the health
// checks of load balancers know none.
Result<std::string> authorize_client(const Config& config, const HttpRequest& head, bool is_unix) {
  const std::string* authorization = head.field("authorization");
  const auto key = authorization == nullptr ? std::string_view() : bearer_token(*authorization);
  const ClientConfig* client = key.empty() ? nullptr : find_client_by_key(config, key);
  if (client != nullptr) return client->name;
  if (is_unix || head.path == "/healthz" || head.path == "/readyz") return std::string();
  return fail(Code::kInvalidApiKey, "{}",
              key.empty() ? "no API key was given: send it as 'Authorization: Bearer KEY'"
                          : "the API key is not one of this server's");
}

class Daemon {
 public:
  Daemon(const Config& config, const DaemonOptions& options, const HttpLimits& limits,
         const SecretKey& ticket_key)
      : config_(config),
        service_(loop_, config,
                 {.runner_binary = options.runner_binary,
                  .first_request = random_first_request(),
                  .on_runner_restart =
                      [this](const std::string& reason) { metrics_.count_runner_restart(reason); },
                  .ticket_key = ticket_key,
                  .ticket_epoch = host_boot()}),
        server_(loop_, limits),
        api_(service_, metrics_, api_options()),
        control_(service_, control_options()),
        terminate_(loop_, SIGTERM, [this] { on_signal(); }),
        interrupt_(loop_, SIGINT, [this] { on_signal(); }),
        watchdog_(loop_, [] { notify_watchdog(); }),
        status_(loop_, [this] { tell_status(); }),
        last_words_(loop_, [this] { end(); }) {
    api_.add_routes(api_routes_);
    control_.add_routes(control_routes_);
    api_.add_observe_routes(control_routes_);
    api_.add_observe_routes(observe_routes_);
  }
  // Before the API goes that its connections use.
  ~Daemon() { server_.close_all(); }

  Result<void> listen(Sockets sockets) {
    const auto authorize = [this](const HttpRequest& head, bool is_unix) {
      return authorize_client(config_, head, is_unix);
    };
    for (auto& socket : sockets.api) {
      TRY(server_.listen(std::move(socket), api_routes_, Audience::kClients, authorize, api_.judge()));
    }
    TRY(server_.listen(std::move(sockets.control), control_routes_, Audience::kOperators));
    if (sockets.observe) {
      TRY(server_.listen(std::move(sockets.observe), observe_routes_, Audience::kOperators));
    }
    return {};
  }

  int run() {
    // Three beats within the limit: one may be late.
    if (const uint64_t interval_ms = watchdog_interval_ms())
      watchdog_.start(interval_ms / 3, interval_ms / 3);
    status_.start(kStatus_ms, kStatus_ms);
    notify_ready("Sockets open, models loading");
    spdlog::info("dsd {} serves {} model(s) in {}", DEEPSERVE_VERSION, config_.models.size(),
                 config_.runtime_dir);
    loop_.run();
    return exit_status_;
  }

 private:
  ApiOptions api_options() {
    ApiOptions options;
    options.client_name = [this](const Peer& peer) {
      return match_client(config_, {peer.known, peer.uid, peer.gid, peer.key_client}).name;
    };
    options.is_trusted_proxy = [this](const Peer& peer) {
      return match_client(config_, {peer.known, peer.uid, peer.gid, peer.key_client}).trusted_proxy;
    };
    options.server = &server_;
    options.request_timeout_ns = config_.server.request_timeout_ns;
    return options;
  }
  ControlOptions control_options() {
    ControlOptions options;
    options.runtime_dir = config_.runtime_dir;
    options.config_path = config_.file;
    options.config_json = [this] { return config_json(config_); };
    return options;
  }

  void tell_status() {
    const auto counts = service_.counts();
    notify_status(fmt::format("{}; {} request(s) running", service_.ready() ? "Ready" : "No runner ready",
                              counts.running));
  }

  // The first signal drains; the second ends at once.
  void on_signal() {
    if (std::exchange(stopping_, true)) {
      spdlog::warn("second signal: ending at once");
      exit_status_ = 1;
      service_.kill_runners();
      loop_.stop();
      return;
    }
    spdlog::info("stopping: running requests have {} s to end", config_.server.drain_limit_ns / kSecond_ns);
    notify_stopping();
    server_.begin_drain([this] {
      connections_gone_ = true;
      end_when_done();
    });
    service_.begin_stop(config_.server.drain_limit_ns, [this] {
      service_.stop_runners([this] {
        runners_gone_ = true;
        last_words_.start(kLastWords_ms);
        end_when_done();
      });
    });
  }
  void end_when_done() {
    if (runners_gone_ && connections_gone_) end();
  }
  void end() {
    spdlog::info("stopped");
    server_.close_all();
    loop_.stop();
  }

  const Config& config_;
  Loop loop_;
  Metrics metrics_;
  Service service_;
  Router api_routes_, control_routes_, observe_routes_;
  HttpServer server_;
  Api api_;
  Control control_;
  Signal terminate_, interrupt_;
  Timer watchdog_, status_, last_words_;
  bool stopping_ = false;
  bool connections_gone_ = false;
  bool runners_gone_ = false;
  int exit_status_ = 0;
};

// What clients may hold of the descriptors that we are allowed.
Result<HttpLimits> http_limits(const Config& config) {
  size_t runners = 0;
  for (const auto& model : config.models) runners += model.devices.size();
  TRY_ASSIGN(const size_t limit, raise_descriptor_limit());
  return fit_descriptors(HttpLimits{}, limit, config.server.listen.size(), runners);
}

// Without a state directory that can be used, unless one was asked for, the key lives as long as dsd.
Result<SecretKey> ticket_key_of(const Config& config, const DaemonOptions& options) {
  const std::string path = config.state_dir + "/ticket.key";
  auto made = make_private_dir(config.state_dir);
  if (!made && options.state_dir_wanted) return tl::unexpected<Error>(made.error());
  if (made) {
    auto key = load_or_make_key(path);
    if (key || key.error().code == Code::kInvalidConfig || options.state_dir_wanted) return key;
    made = tl::unexpected<Error>(key.error());
  }
  spdlog::warn("{}; the tickets of refused requests will not outlive this dsd", made.error().message);
  return random_key();
}

Result<int> start_and_run(const Config& config, const DaemonOptions& options) {
  TRY_ASSIGN(const HttpLimits limits, http_limits(config));
  if (::access(options.runner_binary.c_str(), X_OK) != 0) {
    return fail_errno(fmt::format("the runner '{}' cannot be run", options.runner_binary));
  }
  TRY_ASSIGN(const SecretKey ticket_key, ticket_key_of(config, options));
  TRY_ASSIGN(const auto runtime_dir, RuntimeDir::claim(config.runtime_dir));
  TRY_ASSIGN(auto sockets, open_sockets(config));
  Daemon daemon(config, options, limits, ticket_key);
  TRY(daemon.listen(std::move(sockets)));
  return daemon.run();
}

}  // namespace

int run_daemon(const Config& config, const DaemonOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  forbid_core_dumps();
  give_memory_back();
  const auto status = start_and_run(config, options);
  if (status) return *status;
  spdlog::error("{}", status.error().message);
  return 1;
}

}  // namespace deepserve::daemon
