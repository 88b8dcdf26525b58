#include "runner/lane/server.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>

#include "ipc/base/clock.h"
#include "ipc/base/log.h"
#include "runner/device_kind.h"
#include "runner/lane/daemon_link.h"
#include "runner/lane/fatal_signals.h"
#include "runner/lane/lane_sink.h"
#include "runner/lane/load_priority.h"
#include "runner/lane/message_loop.h"
#include "runner/lane/process_share.h"
#include "runner/lane/rank_server.h"
#include "runner/lane/sandbox.h"
#include "runner/model/loaded_model.h"
#include "runner/model/model_paths.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kSequencesMax = 512;  // that run at once

volatile std::sig_atomic_t terminate = 0;
volatile std::sig_atomic_t loading = 1;
// What ends the main loop's sleep: the lane's eventfd, another one with each lane.
std::atomic<int> wake_fd = ipc::kLaneFdRunnerWake;
static_assert(std::atomic<int>::is_always_lock_free);

void on_terminate(int) noexcept {
  if (loading != 0) _exit(kExitCutShort);  // nothing was taken on yet: nothing is to be drained
  terminate = 1;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_fd.load(), &one, sizeof one);
}

void handle_termination() {
  struct sigaction action {};
  action.sa_handler = on_terminate;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigset_t terminating;  // whoever started this may have it blocked
  sigemptyset(&terminating);
  sigaddset(&terminating, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &terminating, nullptr);
  // A terminal's Ctrl-C goes to dsd as well, which decides; a write to a dead peer is an error, not a death.
  signal(SIGINT, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
}

Result<std::unique_ptr<ipc::Lane>> attach_inherited_lane(uint64_t epoch) {
  for (const int fd : {ipc::kLaneFdToRunner, ipc::kLaneFdToDaemon, ipc::kLaneFdRunnerWake,
                       ipc::kLaneFdDaemonWake, ipc::kSupervisorSocketFd}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(Code::kBadLane,
                  "descriptor {} is not open: `serve` is started by dsd, which hands it its lane", fd);
    }
  }
  return ipc::Lane::attach({.to_runner = Fd(ipc::kLaneFdToRunner),
                            .to_daemon = Fd(ipc::kLaneFdToDaemon),
                            .runner_wake = Fd(ipc::kLaneFdRunnerWake),
                            .daemon_wake = Fd(ipc::kLaneFdDaemonWake)},
                           ipc::Side::kRunner, epoch);
}

// None where dsd has left none: such a runner ends with its dsd.
Fd inherited_rendezvous() {
  int listens = 0;
  socklen_t size = sizeof listens;
  const bool is_socket =
      getsockopt(ipc::kRendezvousFd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
  if (!is_socket || fcntl(ipc::kRendezvousFd, F_SETFD, FD_CLOEXEC) != 0) return {};
  return Fd(ipc::kRendezvousFd);
}

// The runner's tie to dsd and what it says through it.
struct Connection {
  DaemonLink& link;
  LaneSink& sink;

  void tell_phase(ipc::RunnerPhase phase) const {
    ipc::RunnerState state;
    state.phase = phase;
    sink.state(state);
    sink.flush();
  }
  // While the model loads: dsd may go and another one come.
  void look() const {
    const auto change = link.look();
    if (change == DaemonLink::Change::kLost) {
      if (!link.may_be_adopted()) _exit(kExitSupervisorGone);
      sink.detach();
    } else if (change == DaemonLink::Change::kAdopted) {
      sink.attach(link.lane());
      tell_phase(ipc::RunnerPhase::kLoading);
    }
  }
};

struct ServedModel {
  LoadedModel loaded;
  std::unique_ptr<Tokenizer> tokenizer;
  Result<ChatTemplate> chat = fail(Code::kInternal, "not loaded");
};

Result<ChatTemplate> choose_chat_template(const std::string& name, const Vocabulary& vocabulary) {
  if (name.empty()) return ChatTemplate::detect(vocabulary);
  TRY_ASSIGN(const ChatFamily family, chat_family_from_name(name));
  return ChatTemplate::of_family(family, vocabulary);
}

// `device` has how the backend is made, and its group.
Result<ServedModel> load(const ServeOptions& options, const BackendOptions& device,
                         const LoadPriority& priority, const Connection& daemon) {
  BackendOptions backend_options = device;
  backend_options.on_bytes_loaded = [&daemon](uint64_t bytes) {
    daemon.link.lane().set_bytes_loaded(bytes);
    daemon.link.lane().count_step();
    daemon.look();
  };
  backend_options.aside = [&priority](const auto& work) { priority.aside(work); };
  ServedModel model;
  TRY_ASSIGN(model.loaded, load_model(options.model, backend_options));
  if (!model.loaded.vocabulary) return tl::unexpected<Error>(model.loaded.vocabulary_error);
  model.chat = choose_chat_template(options.chat_template, *model.loaded.vocabulary);
  if (!model.chat) {
    if (!options.chat_template.empty()) return tl::unexpected<Error>(model.chat.error());
    spdlog::warn("chat requests will be refused: {}", model.chat.error().message);
  }
  auto tokenizer = Tokenizer::make(std::move(*model.loaded.vocabulary));
  if (!tokenizer) return tl::unexpected<Error>(of_file(options.model, std::move(tokenizer.error())));
  model.tokenizer = std::move(*tokenizer);
  return model;
}

// The likeliest token by the backend's own draw is that of `logits`, which `entry` gave.
Result<void> warm_up_draws(Backend& backend, BatchEntry entry, std::span<const float> logits) {
  ipc::Generation greedy;
  greedy.temperature = 0;
  const uint16_t choice = 0;
  const RowDraw draw{.generation = &greedy, .choices = {&choice, 1}};
  DrawnRow row;
  DrawnToken token{};
  entry.draws = {&draw, 1};
  TRY(backend.step({&entry, 1},
                   {.logits = {}, .hidden = {}, .drawn_rows = {&row, 1}, .drawn_tokens = {&token, 1}}));
  const auto likeliest = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
  if (row.fault == DrawFault::kNone && token.token == likeliest) return {};
  return fail(Code::kDeviceFault, "the device draws token {} where its logits say {}", token.token,
              likeliest);
}

// One token through the whole model: what a first request would otherwise pay for, and the proof that it
// computes.
Result<void> warm_up(Backend& backend, const Tokenizer& tokenizer) {
  const TokenId token = tokenizer.vocabulary().bos.value_or(0) % backend.info().vocabulary;
  const BlockId block = 0;
  std::vector<float> logits(backend.info().vocabulary);
  const BatchEntry entry{.tokens = {&token, 1}, .position = 0, .blocks = {&block, 1}, .logits_rows = 1};
  TRY(backend.step({&entry, 1}, {logits, {}}));
  for (const float logit : logits) {
    if (!std::isfinite(logit))
      return fail(Code::kBadModelFile, "the weights give a logit of {} in the first forward pass", logit);
  }
  return backend.info().draws ? warm_up_draws(backend, entry, logits) : Result<void>();
}

ipc::RunnerState describe(const ServedModel& model, const ServeOptions& options, uint32_t context_tokens) {
  const BackendInfo& info = model.loaded.backend->info();
  ipc::RunnerState state;
  state.phase = ipc::RunnerPhase::kReady;
  state.architecture = info.architecture;
  state.weights_type = info.weights_type;
  state.chat_template = model.chat ? chat_family_name(model.chat->family()) : "none";
  state.numerics_id = info.numerics_id;
  state.isa = info.isa;
  state.weight_bytes = info.weight_bytes;
  state.parameters = info.parameters;
  state.vocabulary = info.vocabulary;
  state.context_tokens = context_tokens;
  state.context_tokens_model = info.context_tokens_model;
  state.kv_blocks = info.blocks;
  state.kv_block_tokens = info.block_tokens;
  state.sequences_max = std::min(options.sequences_max, kSequencesMax);
  return state;
}

Result<LoopEnd> load_and_run(const ServeOptions& options, const Connection& daemon,
                             std::shared_ptr<ipc::GroupMemory> group) {
  LaneSink& sink = daemon.sink;
  LoadPriority priority(options.load_nice);
  daemon.tell_phase(ipc::RunnerPhase::kLoading);
  TRY_ASSIGN(const DeviceKind device, device_kind(options.kind));
  std::unique_ptr<SharedCollective> collective;  // it and nccl outlive the backend
  if (group != nullptr) {
    TRY_ASSIGN(collective, SharedCollective::join(std::move(group), {.rank = 0}));
  }
  BackendOptions backend = backend_options_of(options, device);
  backend.collective = collective.get();
  TRY_ASSIGN(const auto nccl, device.open(backend));
  backend.nccl = nccl.get();
  TRY_ASSIGN(const auto readable, paths_of_model(options.model));
  for (const auto& path : readable) {
    if (path != options.model)
      spdlog::info("{} needs {} to be readable", options.model.string(), path.string());
  }
  spdlog::info("loading {}; sandbox: {}", options.model.string(), enter_sandbox_with(device, readable));
  TRY_ASSIGN(ServedModel model, load(options, backend, priority, daemon));
  if (options.replace_backend)
    model.loaded.backend = options.replace_backend(std::move(model.loaded.backend));
  daemon.tell_phase(ipc::RunnerPhase::kWarming);
  daemon.link.lane().count_step();
  if (auto warm = warm_up(*model.loaded.backend, *model.tokenizer); !warm) {
    return tl::unexpected<Error>(of_file(options.model, std::move(warm.error())));
  }

  EngineOptions engine_options;
  engine_options.context_tokens = options.context_tokens;
  engine_options.sequences_max = std::min(options.sequences_max, kSequencesMax);
  engine_options.step_tokens_max = device.step_tokens_max;
  engine_options.step_seconds_max = static_cast<double>(options.step_max_ns) / kSecond_ns;
  engine_options.step_target_seconds = static_cast<double>(options.step_target_ns) / kSecond_ns;
  engine_options.prefix_cache = options.prefix_cache;
  engine_options.speculation = options.speculation ? Speculation::kAuto : Speculation::kOff;
  TRY_ASSIGN(auto engine,
             Engine::make(*model.loaded.backend, *model.tokenizer, model.chat, engine_options, sink));
  if (options.context_tokens > engine->context_tokens()) {
    spdlog::warn("context_tokens = {} is lowered to the model's own {}", options.context_tokens,
                 engine->context_tokens());
  }
  if (options.sequences_max > kSequencesMax) {
    spdlog::warn("sequences_max = {} is lowered to {}", options.sequences_max, kSequencesMax);
  }
  const ipc::RunnerState ready = describe(model, options, engine->context_tokens());
  const uint64_t kv_tokens = uint64_t{ready.kv_blocks} * ready.kv_block_tokens;
  if (kv_tokens < ready.context_tokens) {
    spdlog::warn("kv_memory holds {} tokens, less than one context of {}", kv_tokens, ready.context_tokens);
  }
  priority.end();
  loading = 0;
  sink.state(ready);
  daemon.link.lane().publish_gauges(engine->gauges());
  sink.flush();
  spdlog::info("ready: {} {} {}, {} bytes, {} KV blocks of {} tokens, chat template {}, {}",
               options.model.string(), ready.architecture, ready.weights_type, ready.weight_bytes,
               ready.kv_blocks, ready.kv_block_tokens, ready.chat_template, ready.numerics_id);
  MessageLoop loop(daemon.link, sink, *engine, *model.tokenizer, model.chat, ready, options.orphan_limit_ns,
                   terminate);
  return loop.run();
}

void tell_failure(const Connection& daemon, const Error& error) {
  spdlog::error("{}", error.message);
  ipc::RunnerState state;
  state.phase = ipc::RunnerPhase::kFailed;
  state.code = error.code;
  state.message = error.message;
  daemon.sink.retry();
  daemon.sink.state(state);
  daemon.sink.flush();
  // A model that was good when it was loaded can only have been changed since.
  record_reported_error(daemon.link.lane(), error, loading == 0 && error.code == Code::kBadModelFile);
}

// What the next dsd is to hear of this process, while /proc can be read, and the group that it gets along.
Result<void> introduce(const ServeOptions& options, DaemonLinkOptions& link,
                       std::shared_ptr<ipc::GroupMemory>& group) {
  TRY_ASSIGN(link.process, ipc::own_identity());
  if (options.ranks > 1) {
    TRY_ASSIGN(group, map_inherited_group(options, link.group));
  }
  return {};
}

}  // namespace

std::string enter_sandbox_with(const DeviceKind& device, std::vector<std::filesystem::path> readable) {
  const DeviceFiles files = device.files == nullptr ? DeviceFiles{} : device.files();
  readable.insert(readable.end(), files.readable.begin(), files.readable.end());
  return enter_sandbox(readable, files.writable);
}

BackendOptions backend_options_of(const ServeOptions& options, const DeviceKind& device) {
  BackendOptions backend_options;
  backend_options.make = device.make;
  backend_options.kv_bytes = options.kv_bytes;
  backend_options.kv_type = options.kv_type;
  backend_options.memory_bytes = options.device_memory_bytes;
  backend_options.threads = usable_cores();
  backend_options.batch_tokens_max = device.step_tokens_max;
  backend_options.deterministic = options.deterministic;
  backend_options.allow_jit = options.allow_jit;
  backend_options.isa = options.isa;
  return backend_options;
}

int serve(const ServeOptions& options) {
  if (options.rank != 0) return serve_rank(options);
  init_log(fmt::format("ds-runner {}", options.name), LogLevel::kInfo);
  handle_termination();
  Result<void> prepared = take_share(options);
  auto lane = attach_inherited_lane(options.epoch);
  if (!lane) {
    spdlog::error("{}", lane.error().message);
    return kExitFailed;
  }
  DaemonLinkOptions link_options{.command = options.command, .rendezvous = inherited_rendezvous()};
  link_options.on_lane = [](ipc::Lane& next) {
    redirect_fatal_signals_to(next);
    wake_fd = next.wake_fd();
  };
  report_fatal_signals_to(**lane, options.memory_limit_bytes.value_or(0));
  LaneSink sink(**lane);
  std::shared_ptr<ipc::GroupMemory> group;
  if (prepared) prepared = introduce(options, link_options, group);
  // Outlives this function: a fatal signal may need it until the very end.
  static DaemonLink& link =
      *new DaemonLink(std::move(*lane), ipc::kSupervisorSocketFd, std::move(link_options));
  const Connection daemon{link, sink};
  const auto end = prepared ? load_and_run(options, daemon, std::move(group))
                            : Result<LoopEnd>(tl::unexpected(prepared.error()));
  if (!end) {
    tell_failure(daemon, with_memory_limit(end.error(), options));
    return kExitFailed;
  }
  if (*end == LoopEnd::kSupervisorGone) {
    spdlog::warn("the daemon has gone");
    return kExitSupervisorGone;
  }
  spdlog::info("exiting: {}", *end == LoopEnd::kDrained ? "drained" : "told to");
  return kExitDone;
}

}  // namespace deepserve::runner
