#include "daemon/process/daemon.h"

#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>

#include "daemon/api/api.h"
#include "daemon/api/control.h"
#include "daemon/api/control_daemon.h"
#include "daemon/config/config_diff.h"
#include "daemon/config/cpuset.h"
#include "daemon/gpu/gpu_monitor.h"
#include "daemon/gpu/nvml_gpus.h"
#include "daemon/http/listener.h"
#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/loop/loop.h"
#include "daemon/observe/metrics.h"
#include "daemon/process/descriptors.h"
#include "daemon/process/runtime_dir.h"
#include "daemon/process/service_manager.h"
#include "daemon/process/sockets.h"
#include "daemon/process/ticket_key.h"
#include "daemon/serving/caller.h"
#include "daemon/serving/service.h"
#include "daemon/upgrade/roll_back.h"
#include "daemon/upgrade/upgrade.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kLastWords_ms =
    2'000;  // for the answers that are on their way when everything else has stopped
constexpr uint64_t kStatus_ms = 5'000;
constexpr uint64_t kPoolLimit_ms = 1'000;  // for the pool to end what it does, when nothing else is left

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

// Kept answers that took so much give it back when the last of them goes, as the many that the runners of an
// earlier dsd told again: the heap would keep it.
constexpr size_t kTrimBytes = 1 << 20;

// Whether an earlier dsd has left any, dead ones too.
bool has_runners(const Config& config) {
  std::error_code problem;
  return std::filesystem::directory_iterator(rendezvous_dir(config.runtime_dir), problem) !=
         std::filesystem::directory_iterator();
}

bool uses_gpus(const Config& config) {
  return std::any_of(config.devices.begin(), config.devices.end(),
                     [](const auto& device) { return device.is_gpu(); });
}

// What clients may hold of the descriptors that we are allowed.
Result<HttpLimits> http_limits(const Config& config) {
  size_t runners = 0;
  for (const auto& model : config.models) runners += model.devices.size();
  TRY_ASSIGN(const size_t limit, raise_descriptor_limit());
  return fit_descriptors(HttpLimits{}, limit, config.server.listen.size(), runners);
}

class Daemon {
 public:
  Daemon(const Config& config, const DaemonOptions& options, const HttpLimits& limits,
         const SecretKey& ticket_key, RuntimeDir runtime_dir)
      : config_(config),
        ticket_key_(ticket_key),
        runtime_dir_(std::move(runtime_dir)),
        started_ns_(options.handed ? options.handed->started_ns : monotonic_ns()),
        return_until_ns_(has_runners(config) ? monotonic_ns() + Service::kReturnMax_ns : 0),
        gpus_(loop_, open_nvml_gpus, [this](const XidEvent& event) { service_.on_xid(event); }),
        service_(loop_, config_,
                 {.runner_binary = options.runner_binary,
                  .rendezvous_dir = rendezvous_dir(config.runtime_dir),
                  .generations_file = config.runtime_dir + "/generations.json",
                  .first_request = options.handed ? options.handed->next_request : random_first_request(),
                  .on_runner_restart =
                      [this](const std::string& reason) { metrics_.count_runner_restart(reason); },
                  .adopt = [this](RequestId id, const RequestSpec& spec) { return api_.adopt(id, spec); },
                  .ticket_key = ticket_key,
                  .ticket_epoch = host_boot(),
                  .gpus = &gpus_,
                  .mps_dir = mps_dir(config.runtime_dir)}),
        server_(loop_, limits),
        api_(service_, metrics_, api_options()),
        control_(service_, control_options()),
        upgrade_(loop_, options.arguments, upgrade_hooks()),
        terminate_(loop_, SIGTERM, [this] { on_signal(); }),
        interrupt_(loop_, SIGINT, [this] { on_signal(); }),
        hang_up_(loop_, SIGHUP, [this] { (void)config_changes(true); }),
        watchdog_(loop_, [] { notify_watchdog(); }),
        status_(loop_, [this] { tell_status(); }),
        last_words_(loop_, [this] { end(); }),
        kept_(loop_, [this] { tick_kept(); }) {
    kept_.start(Api::kTick_ms, Api::kTick_ms);
    gpus_.watch(uses_gpus(config_));
    if (config_.asks_cgroups()) server_.ask_cgroups();
    api_.add_routes(api_routes_);
    control_.add_routes(control_routes_);
    add_daemon_routes(control_routes_, {.reexec = [this](const std::string& binary,
                                                         auto failed) { reexec(binary, std::move(failed)); },
                                        .stop = [this] { loop_.defer([this] { stop(); }); }});
    api_.add_observe_routes(control_routes_);
    api_.add_observe_routes(observe_routes_);
  }
  // Before the API goes that its connections use.
  ~Daemon() { server_.close_all(); }

  Result<void> listen(std::vector<ListeningSocket> sockets) {
    const auto authorize = [this](const HttpRequest& head, bool is_unix) {
      return authorize_client(config_, head, is_unix);
    };
    for (auto& [kind, socket, inherited] : sockets) {
      listeners_.push_back({socket.get(), kind, inherited});
      if (kind == ListenerKind::kApi) {
        TRY(server_.listen(std::move(socket), api_routes_, Audience::kClients, authorize, api_.judge()));
      } else {
        const Router& routes = kind == ListenerKind::kControl ? control_routes_ : observe_routes_;
        TRY(server_.listen(std::move(socket), routes, Audience::kOperators));
      }
    }
    return {};
  }

  // Goes on where the program before this one left off. Neither reads nor writes: until run() that one can
  // have everything back.
  Result<void> take_over(const HandedState& handed, const std::string& rolled_back) {
    const double pause_ms = static_cast<double>(monotonic_ns() - handed.begun_ns) / kMillisecond_ns;
    resume_reexec(control_routes_, {handed.version, rolled_back, pause_ms});
    std::vector<Service::RunnerPast> pasts;
    for (const auto& runner : handed.runners) pasts.push_back({runner.id, runner.pids, runner.record});
    service_.take_over(pasts);
    if (!handed.bookings.empty()) TRY(service_.take_over_bookings(handed.bookings));
    if (handed.answers) {
      std::vector<ExpectedAnswer> expected;
      for (const auto& one : *handed.answers) expected.push_back({one.request, one.client, one.key});
      api_.expect(std::move(expected));
      awaits_answers_ = false;
    }
    Service::DrainedNames drained{handed.drained.host, handed.drained.models, handed.drained.runners};
    for (const auto& [gpu, why] : handed.drained.gpus) drained.gpus.push_back({gpu, why});
    service_.take_over(drained);
    service_.take_over(handed.requests);
    std::vector<Service::RunningRequest> running;
    for (const auto& one : handed.running) {
      std::optional<ipc::Accepted> accepted;
      if (one.accepted) accepted = {one.request, one.prompt_tokens, one.cached_tokens};
      running.push_back({one.request, one.runner, accepted, one.submit, one.goes_on});
    }
    service_.take_over(std::move(running));
    TRY(server_.take_over(handed.connections));
    if (!rolled_back.empty()) spdlog::error("upgrade: the new program did not take over: {}", rolled_back);
    spdlog::info("dsd {} goes on for dsd {} with {} connection(s) and {} waiting request(s) after {:.1f} ms",
                 DEEPSERVE_VERSION, handed.version, handed.connections.size(), handed.requests.size(),
                 pause_ms);
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
    roll_back::disarm();
    loop_.run();
    leave_the_pool();
    return exit_status_;
  }

 private:
  // A GPU's driver may hang, and a thread in it cannot be ended but with the process.
  void leave_the_pool() {
    gpus_.watch(false);
    if (loop_.in_pool() == 0) return;
    Timer limit(loop_, [this] { loop_.stop(); });
    Timer look(loop_, [this] {
      if (loop_.in_pool() == 0) loop_.stop();
    });
    limit.start(kPoolLimit_ms);
    look.start(0, 1);
    loop_.run();
    if (loop_.in_pool() == 0) return;
    spdlog::warn("the GPU driver does not answer: ending without it");
    spdlog::default_logger()->flush();
    ::_exit(exit_status_);
  }

  ApiOptions api_options() {
    ApiOptions options;
    options.client_name = [this](const Peer& peer) { return match_client(config_, caller_of(peer)).name; };
    options.is_trusted_proxy = [this](const Peer& peer) {
      return match_client(config_, caller_of(peer)).trusted_proxy;
    };
    options.server = &server_;
    options.return_until_ns = return_until_ns_;
    options.request_timeout_ns = config_.server.request_timeout_ns;
    return options;
  }
  ControlOptions control_options() {
    ControlOptions options;
    options.runtime_dir = config_.runtime_dir;
    options.config_path = config_.file;
    options.config_json = [this] { return config_json(config_); };
    options.config_changes = [this](bool applies) { return config_changes(applies); };
    options.started_ns = started_ns_;
    return options;
  }
  // The file as it is now against what is in effect.
  Result<std::string> config_changes(bool applies) {
    ConfigSurroundings surroundings{config_.runtime_dir, config_.state_dir, host_cpuset()};
    surroundings.gpus = [this] { return known_gpus(); };
    const auto read = load_config(config_.file, surroundings);
    if (!read) {
      std::string text = problems_text(config_.file, read.error());
      text.pop_back();  // the last line's end
      if (applies) spdlog::error("config reload: nothing was changed: {}", text);
      return fail(Code::kInvalidConfig, "nothing was changed: {}", text);
    }
    const auto changes = config_diff(config_, *read);
    if (applies) {
      if (const auto applied = apply(*read); !applied) {
        const auto text = "nothing was changed: " + applied.error().message;
        spdlog::error("config reload: {}", text);
        return fail(applied.error().code, "{}", text);
      }
      if (!read->warnings.empty())
        spdlog::warn("config reload: {}", problems_text(config_.file, read->warnings));
      spdlog::info("config reload: {} change(s) from {}", changes.size(), config_.file);
    }
    return changes_json(config_.file, changes);
  }
  // The loop does not wait for a driver: of GPUs that nobody has used before only their runners tell.
  Result<GpuInventory> known_gpus() const {
    if (gpus_.inventory() != nullptr) return *gpus_.inventory();
    return fail(Code::kNotFound, "{}", gpus_.trouble().empty() ? "no GPU was in use yet" : gpus_.trouble());
  }
  // Whole, or not at all: what may fail comes first.
  Result<void> apply(const Config& next) {
    if (stopping_) return fail(Code::kShuttingDown, "the server is shutting down");
    if (upgrade_.is_going_on()) return fail(Code::kConflict, "an upgrade is going on");
    TRY(service_.check_models(next));
    TRY_ASSIGN(const HttpLimits limits, http_limits(next));
    TRY_ASSIGN(auto change, change_sockets(config_, next, listeners_));
    TRY(listen(std::move(change.opened)));
    for (const int socket : change.closed) stop_listening(socket);
    config_ = next;
    server_.limit_connections(limits.connections_max);
    if (config_.asks_cgroups()) server_.ask_cgroups();
    api_.set_request_timeout(config_.server.request_timeout_ns);
    gpus_.watch(uses_gpus(config_));
    service_.reconfigure();
    return {};
  }
  void stop_listening(int socket) {
    spdlog::info("no longer listening on {}", bound_address(socket));
    std::erase_if(listeners_, [socket](const auto& one) { return one.fd == socket; });
    remove_socket_file(socket);
    server_.stop_listening(socket);
  }

  UpgradeHooks upgrade_hooks() {
    UpgradeHooks hooks;
    hooks.state = [this] { return state(); };
    hooks.stays = [this] {
      auto stays = service_.stays();
      if (stays.empty()) stays = server_.stays();
      // The process can only become another one when no thread of it is in the driver.
      if (stays.empty() && gpus_.is_reading()) stays = "a question to the GPUs' driver";
      return stays;
    };
    hooks.hold = [this] {
      gpus_.pause();
      server_.hold();
    };
    hooks.release = [this] {
      server_.release();
      gpus_.resume();
    };
    hooks.leaving = [] { notify_reloading(); };
    hooks.stayed = [this] {
      notify_ready("Not upgraded");
      tell_status();
    };
    return hooks;
  }

  HandedState state() {
    HandedState state;
    state.version = DEEPSERVE_VERSION;
    state.config_text = config_.text;
    state.lock_fd = runtime_dir_.lock_descriptor();
    state.started_ns = started_ns_;
    state.next_request = service_.next_request();
    state.ticket_key = ticket_key_;
    state.listeners = listeners_;
    state.connections = server_.hand_over();
    state.requests = service_.hand_over();
    for (auto& one : service_.running()) {
      const auto accepted = one.accepted.value_or(ipc::Accepted{});
      state.running.push_back({one.id, std::move(one.runner), one.accepted.has_value(),
                               accepted.prompt_tokens, accepted.cached_tokens, std::move(one.submit),
                               one.goes_on});
    }
    state.bookings = service_.bookings();
    for (auto& past : service_.pasts()) {
      state.runners.push_back({std::move(past.id), std::move(past.pids), std::move(past.record)});
    }
    auto drained = service_.drained();
    state.drained = {drained.host, std::move(drained.models), std::move(drained.runners)};
    for (auto& [gpu, why] : drained.gpus) state.drained.gpus.push_back({std::move(gpu), std::move(why)});
    if (auto expected = api_.expected_next()) {
      auto& answers = state.answers.emplace();
      for (auto& one : *expected) answers.push_back({one.id, std::move(one.client), std::move(one.key)});
    }
    return state;
  }

  void reexec(const std::string& binary, Upgrade::Failed failed) {
    // Once the connection that asks can be handed over as well.
    loop_.defer([this, binary, told = std::move(failed)] {
      if (stopping_) return told({Code::kShuttingDown, "the server is shutting down"});
      upgrade_.begin(binary, told);
    });
  }

  void tell_status() {
    const auto counts = service_.counts();
    notify_status(fmt::format("{}; {} request(s) running", service_.ready() ? "Ready" : "No runner ready",
                              counts.running));
  }

  // The first signal drains; the second ends at once.
  void on_signal() {
    if (!stopping_) return stop();
    spdlog::warn("second signal: ending at once");
    exit_status_ = 1;
    service_.kill_runners();
    loop_.stop();
  }

  void stop() {
    if (std::exchange(stopping_, true)) return;
    upgrade_.give_up({Code::kShuttingDown, "the server is shutting down"});
    spdlog::info("stopping: running requests have {} s to end", config_.server.drain_limit_ns / kSecond_ns);
    notify_stopping();
    for (const auto& one : listeners_) {  // while they are ours: another dsd may have the place from here on
      if (!one.inherited) remove_socket_file(one.fd);
    }
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
  void tick_kept() {
    if (awaits_answers_ && !service_.may_hear_of_more()) {
      awaits_answers_ = false;
      api_.expect({});  // all that were to come back are here
    }
    kept_most_ = std::max(kept_most_, api_.kept().bytes());
    api_.tick(monotonic_ns());
    if (api_.kept().size() > 0 || kept_most_ < kTrimBytes) return;
    kept_most_ = 0;
    ::malloc_trim(0);
  }
  void end_when_done() {
    if (runners_gone_ && connections_gone_) end();
  }
  void end() {
    spdlog::info("stopped");
    server_.close_all();
    loop_.stop();
  }

  Config config_;  // what a reload may change of it is changed in place
  const SecretKey ticket_key_;
  const RuntimeDir runtime_dir_;
  const uint64_t started_ns_;
  const uint64_t return_until_ns_;  // ApiOptions; looked up before our own runners are there
  Loop loop_;
  Metrics metrics_;
  GpuMonitor gpus_;
  Service service_;
  Router api_routes_, control_routes_, observe_routes_;
  HttpServer server_;
  Api api_;
  Control control_;
  Upgrade upgrade_;
  std::vector<HandedListener> listeners_;  // the server's, in its order
  Signal terminate_, interrupt_, hang_up_;
  Timer watchdog_, status_, last_words_, kept_;
  bool awaits_answers_ = return_until_ns_ != 0;  // of a dsd that died: it is not known which it had
  size_t kept_most_ = 0;                         // bytes of kept answers, since the heap was trimmed
  bool stopping_ = false;
  bool connections_gone_ = false;
  bool runners_gone_ = false;
  int exit_status_ = 0;
};

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
  const HandedState* handed = options.handed ? &*options.handed : nullptr;
  // Before anything is closed that the program before this one would want back.
  const auto or_back = [](auto result) {
    if (!result) roll_back::now(result.error().message);
    return result;
  };
  TRY_ASSIGN(const HttpLimits limits, http_limits(config));
  if (::access(options.runner_binary.c_str(), X_OK) != 0) {
    return fail_errno(fmt::format("the runner '{}' cannot be run", options.runner_binary));
  }
  SecretKey ticket_key = {};
  if (handed != nullptr) {
    ticket_key = handed->ticket_key;
  } else {
    TRY_ASSIGN(ticket_key, ticket_key_of(config, options));
  }
  TRY_ASSIGN(auto runtime_dir, handed != nullptr ? RuntimeDir::take_over(config.runtime_dir, handed->lock_fd)
                                                 : RuntimeDir::claim(config.runtime_dir));
  TRY(or_back(make_private_dir(rendezvous_dir(config.runtime_dir))));
  TRY_ASSIGN(auto sockets,
             or_back(handed != nullptr ? take_over_sockets(handed->listeners) : open_sockets(config)));
  Daemon daemon(config, options, limits, ticket_key, std::move(runtime_dir));
  TRY(or_back(daemon.listen(std::move(sockets))));
  if (handed != nullptr) TRY(or_back(daemon.take_over(*handed, options.rolled_back)));
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
