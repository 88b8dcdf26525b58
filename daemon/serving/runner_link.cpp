#include "daemon/serving/runner_link.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "daemon/serving/model_memory.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kEpochMax = (uint64_t{1} << ipc::kEpochBits) - 1;
constexpr const char* kLoadNice = "14";                 // a twentieth of what another one's session weighs
constexpr uint64_t kProgressFresh_ns = 3 * kSecond_ns;  // idle runners turn at least once a second

SupervisionLimits limits_of(const SuperviseConfig& config) {
  SupervisionLimits limits;
  limits.deaths_max = config.deaths_max;
  limits.window_ns = config.window_ns;
  return limits;
}

// Where the kernel weighs sessions against each other (sched(7), the autogroup feature) this one's weighs
// little from its first instructions on. The runner sees to it as well, and takes it back
// (lane/load_priority.h).
void weigh_session(pid_t pid, std::string_view nice) {
  const Fd autogroup(::open(fmt::format("/proc/{}/autogroup", pid).c_str(), O_WRONLY | O_CLOEXEC));
  if (autogroup) (void)!::write(autogroup.get(), nice.data(), nice.size());
}

}  // namespace

RunnerLink::RunnerLink(Loop& loop, const Config& config, const ModelConfig& model, DeviceGroup devices,
                       std::string id, Programs programs, GpuShares& gpus, RunnerOwner& owner)
    : loop_(loop),
      model_(model),
      devices_(std::move(devices)),
      id_(std::move(id)),
      programs_(std::move(programs)),
      orphan_limit_ns_(config.supervise.orphan_limit_ns),
      leave_limit_ns_(config.server.drain_limit_ns),
      gpus_(gpus),
      owner_(owner),
      supervision_(limits_of(config.supervise)),
      watch_(kTick_ms * kMillisecond_ns, config.supervise.hang_after_ns, config.supervise.load_hang_after_ns),
      timer_(loop, [this] { step(RunnerEvent::kTimer); }),
      handler_([this](ipc::MessageType type, std::span<const std::byte> body) { handle(type, body); }) {}

RunnerLink::~RunnerLink() {
  kill_now();
  close_process();
  gpus_.forget(*this);
}

void RunnerLink::reconfigure(const Config& config) {
  orphan_limit_ns_ = config.supervise.orphan_limit_ns;
  leave_limit_ns_ = config.server.drain_limit_ns;
  supervision_.set_limits(limits_of(config.supervise));
  watch_.set_limits(config.supervise.hang_after_ns, config.supervise.load_hang_after_ns);
}

bool RunnerLink::is_on(std::string_view device) const {
  return std::any_of(devices_.begin(), devices_.end(),
                     [device](const auto& one) { return one.name == device; });
}

bool RunnerLink::is_on_gpu(std::string_view gpu) const {
  return std::any_of(devices_.begin(), devices_.end(),
                     [gpu](const auto& one) { return one.is_gpu() && one.gpu == gpu; });
}

void RunnerLink::start() {
  step(RunnerEvent::kStart);
}

void RunnerLink::restart(std::function<void(Result<void>)> done) {
  restart_waiters_.push_back(std::move(done));
  step(RunnerEvent::kRestart);
}

void RunnerLink::stop() {
  if (lane_ != nullptr) {
    send_surely(ipc::MessageType::kControl, ipc::Control{ipc::ControlKind::kExit}.encode());
    lane_->flush();
  }
  step(RunnerEvent::kStop);
}

void RunnerLink::kill_now() {
  for (const Process& process : processes_) process.child.signal(SIGKILL);
}

void RunnerLink::step(RunnerEvent event, const Death* death) {
  const auto before = supervision_.status();
  const auto actions = supervision_.step(event, monotonic_ns(), death);
  const auto after = supervision_.status();
  if (before != after && (after == RunnerStatus::kHung || after == RunnerStatus::kDraining)) {
    spdlog::warn("runner {} (pid {}): {}", id_, pid(), runner_status_name(after));
  }
  act(actions);
  arrange_timer();
  if (before != supervision_.status()) answer_waiters();
}

void RunnerLink::act(RunnerActions actions) {
  if (actions.signal != 0 && !processes_.empty()) send_signal(actions.signal);
  if (actions.spawn) start_process();
}

void RunnerLink::send_signal(int number) {
  signalled_ = true;
  // SIGTERM is rank 0's to answer: the others end with it.
  if (number != SIGKILL) return processes_[0].child.signal(number);
  if (!gpus_.is_client(*this)) return kill_now();
  // Its neighbours on the GPU go on better if that is taken from it first.
  gpus_.terminate_client(*this, pid(), [this, alive = std::weak_ptr<bool>(alive_), epoch = epoch_] {
    if (!alive.expired() && epoch == epoch_) kill_now();
  });
}

void RunnerLink::start_process() {
  const uint64_t needed_bytes = devices_.front().is_gpu() ? runner_memory_bytes(model_) : 0;
  switch (gpus_.ask(*this, devices_, needed_bytes)) {
    case GpuStart::kWait:
      return step(RunnerEvent::kHeld);
    case GpuStart::kNever:
      return lose_start({Blame::kRunner, true, "device", gpus_.trouble(devices_)});
    case GpuStart::kNow:
      break;
  }
  if (supervision_.restarts() != 0) owner_.on_restart(*this, supervision_.last_reason());
  const auto spawned = spawn();
  if (spawned) return gpus_.started(*this, devices_);
  spdlog::error("runner {}: {}", id_, spawned.error().message);
  // A child that nobody watches must not stay: neither alive nor as a zombie.
  kill_now();
  for (Process& process : processes_) process.child.reap();
  close_process();
  lose_start({Blame::kRunner, false, "spawn", spawned.error().message});
}

void RunnerLink::lose_start(const Death& death) {
  step(RunnerEvent::kDied, &death);
  owner_.on_died(*this, Blame::kNobody);
}

void RunnerLink::on_gpu_lost() {
  if (processes_.empty()) return;
  spdlog::warn("runner {} (pid {}): its GPU's MPS daemon is gone or fails, it is started anew", id_, pid());
  step(RunnerEvent::kDeviceLost);
}

void RunnerLink::arrange_timer() {
  const uint64_t at_ns = supervision_.timer_at_ns();
  if (at_ns == 0) return timer_.stop();
  const uint64_t now_ns = monotonic_ns();
  timer_.start(at_ns <= now_ns ? 0 : (at_ns - now_ns + kMillisecond_ns - 1) / kMillisecond_ns);
}

void RunnerLink::answer_waiters() {
  const auto status = supervision_.status();
  const bool is_over = status == RunnerStatus::kFailed || status == RunnerStatus::kStopped;
  if (status != RunnerStatus::kReady && !is_over) return;
  for (const auto& done : std::exchange(restart_waiters_, {})) {
    if (is_over) {
      done(fail(Code::kInternal, "runner {} did not become ready: {}", id_, supervision_.last_error()));
    } else {
      done({});
    }
  }
}

Result<void> RunnerLink::spawn() {
  epoch_ = epoch_ % kEpochMax + 1;
  TRY_ASSIGN(auto fds, ipc::create_lane(ipc::LaneSizes{.body_bytes = kLaneBytes}, epoch_));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno("cannot make a socket pair");
  supervisor_socket_.reset(ends[0]);
  const Fd runner_end(ends[1]);
  TRY_ASSIGN(const Fd rendezvous, make_rendezvous());
  std::vector<std::pair<int, int>> inherited = {{fds.to_runner.get(), ipc::kLaneFdToRunner},
                                                {fds.to_daemon.get(), ipc::kLaneFdToDaemon},
                                                {fds.runner_wake.get(), ipc::kLaneFdRunnerWake},
                                                {fds.daemon_wake.get(), ipc::kLaneFdDaemonWake},
                                                {runner_end.get(), ipc::kSupervisorSocketFd}};
  if (rendezvous) inherited.emplace_back(rendezvous.get(), ipc::kRendezvousFd);
  TRY(spawn_ranks(inherited));
  name_rendezvous();
  TRY(begin_life(std::move(fds)));
  for (uint32_t rank = 0; rank < processes_.size(); ++rank) {
    spdlog::info("runner {} started: pid {}, epoch {}{}", id_, pid_of(rank), epoch_,
                 processes_.size() == 1 ? "" : fmt::format(", rank {}", rank));
  }
  return {};
}

std::vector<std::string> RunnerLink::command_of(uint32_t rank) const {
  auto command = runner_command(programs_.runner, id_, model_, devices_, rank, epoch_);
  command.emplace_back("--orphan-limit-ns");
  command.push_back(std::to_string(orphan_limit_ns_));
  if (loads_behind_) {
    command.emplace_back("--load-nice");
    command.emplace_back(kLoadNice);
  }
  return command;
}

Result<void> RunnerLink::spawn_ranks(std::span<const std::pair<int, int>> lane_fds) {
  const auto ranks = static_cast<uint32_t>(devices_.size());
  deaths_.begin(ranks);
  std::vector<std::pair<int, int>> inherited(lane_fds.begin(), lane_fds.end());
  Fd group;
  if (ranks > 1) {
    TRY_ASSIGN(group, ipc::create_group_memory({.ranks = ranks, .generation = epoch_}));
    TRY_ASSIGN(group_, ipc::GroupMemory::map(group, epoch_));
    inherited.emplace_back(group.get(), ipc::kRankGroupFd);
  }
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const auto all = std::span<const std::pair<int, int>>(inherited);
    TRY_ASSIGN(auto child, Child::spawn(command_of(rank), rank == 0 ? all : all.last(1),
                                        gpus_.environment(devices_[rank])));
    if (loads_behind_) weigh_session(child.pid(), kLoadNice);
    processes_.push_back({std::move(child), nullptr});
  }
  return {};
}

// The processes are there: from here on their lane and their ends are watched.
Result<void> RunnerLink::begin_life(ipc::LaneFds fds) {
  TRY_ASSIGN(lane_, ipc::Lane::attach(std::move(fds), ipc::Side::kDaemon, epoch_));
  started_ns_ = monotonic_ns();
  oom_watch_.reset(started_ns_);
  watch_.reset();
  wake_poll_ = std::make_unique<Poll>(loop_, lane_->wake_fd(), [this](int, int) {
    lane_->disarm();
    drain();
  });
  wake_poll_->watch(kReadable);
  for (uint32_t rank = 0; rank < processes_.size(); ++rank) {
    processes_[rank].death_poll = std::make_unique<Poll>(loop_, processes_[rank].child.pidfd(),
                                                         [this, rank](int, int) { on_process_ended(rank); });
    processes_[rank].death_poll->watch(kReadable);
  }
  return {};
}

// Under a name of its own until its process has one: who dies in between leaves a file that nobody asks.
Result<Fd> RunnerLink::make_rendezvous() {
  if (programs_.rendezvous.empty()) return Fd();
  rendezvous_ = fmt::format("{}/{}.{}.new", programs_.rendezvous, ::getpid(), static_cast<const void*>(this));
  ::unlink(rendezvous_.c_str());
  return ipc::listen_at_rendezvous(rendezvous_);
}

void RunnerLink::name_rendezvous() {
  if (rendezvous_.empty()) return;
  const auto process = ipc::process_identity(pid());
  const auto path = process ? fmt::format("{}/{}", programs_.rendezvous, rendezvous_name(*process)) : "";
  if (!process || std::rename(rendezvous_.c_str(), path.c_str()) != 0) {
    spdlog::warn("runner {}: a next daemon will not find it: {}", id_, std::strerror(errno));
    return;
  }
  rendezvous_ = path;
}

bool RunnerLink::wants(const RunnerCandidate& candidate) const {
  return processes_.empty() && is_same_runner(candidate.hello.command, command_of(0));
}

Result<void> RunnerLink::adopt(RunnerCandidate candidate) {
  CHECK(processes_.empty());
  const uint64_t epoch_before = epoch_;
  rendezvous_ = candidate.path;
  const auto take = [&]() -> Result<void> {
    TRY(adopt_ranks(candidate));
    if (candidate.hello.epoch >= kEpochMax)
      return fail(Code::kBadLane, "its epoch is {}, which none can follow", candidate.hello.epoch);
    epoch_ = candidate.hello.epoch + 1;
    TRY_ASSIGN(auto fds, ipc::create_lane(ipc::LaneSizes{.body_bytes = kLaneBytes}, epoch_));
    TRY(ipc::send_lane(candidate.connection.get(), epoch_, fds));
    return begin_life(std::move(fds));
  };
  if (auto taken = take(); !taken) {
    kill_now();
    for (Process& process : processes_) process.child.reap();  // at once where it is not ours
    close_process();
    epoch_ = epoch_before;
    return taken;
  }
  adopted_ = true;
  abi_minor_ = candidate.hello.abi_minor;
  told_all_ = false;
  started_ns_ = ipc::start_ns(candidate.hello.process);
  supervisor_socket_ = std::move(candidate.connection);
  gpus_.adopted(*this, devices_);
  step(RunnerEvent::kAdopt);
  spdlog::info("runner {} adopted: pid {}, epoch {}", id_, pid(), epoch_);
  return {};
}

// Those other than rank 0 stand in the group's memory; they live as long as that one.
Result<void> RunnerLink::adopt_ranks(RunnerCandidate& candidate) {
  const auto ranks = static_cast<uint32_t>(devices_.size());
  deaths_.begin(ranks);
  processes_.push_back({std::move(candidate.process), nullptr});
  if (ranks == 1) return {};
  if (!candidate.group) return fail(Code::kBadLane, "a runner of {} ranks came without their memory", ranks);
  TRY_ASSIGN(group_, ipc::GroupMemory::map(candidate.group, 0));
  if (group_->facts().ranks != ranks)
    return fail(Code::kBadLane, "the group has {} ranks, not {}", group_->facts().ranks, ranks);
  for (uint32_t rank = 1; rank < ranks; ++rank) {
    const auto rank_pid = static_cast<pid_t>(group_->words(rank).pid.load(std::memory_order_acquire));
    TRY_ASSIGN(const auto process, ipc::process_identity(rank_pid));
    TRY_ASSIGN(auto child, Child::adopt(process));
    // Their memory is writable by a runner, which may lie: none is ended for it that is no rank of ours.
    TRY_ASSIGN(const auto running, ipc::command_line(rank_pid));
    if (child.has_ended() || running.size() < kProgramWords ||
        !is_same_runner(std::span(running).subspan(kProgramWords), command_of(rank)))
      return fail(Code::kBadLane, "process {} is not rank {} of the group", rank_pid, rank);
    processes_.push_back({std::move(child), nullptr});
  }
  return {};
}

void RunnerLink::turn() {
  if (lane_ == nullptr || lied_) return;  // what a liar has left in its lane is nobody's business
  while (!unsent_.empty() && send(unsent_.front().first, unsent_.front().second)) unsent_.pop_front();
  lane_->flush();
  if (lane_->arm() || drain_deferred_) return;
  drain_deferred_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    drain_deferred_ = false;
    drain();
  });
}

void RunnerLink::tick(uint64_t now_ns) {
  if (lane_ == nullptr) return;
  const bool serves = supervision_.status() == RunnerStatus::kReady;
  // One that was taken over says at once what it is: it loads nothing until it has.
  const bool is_due = serves || (adopted_ && supervision_.status() == RunnerStatus::kStarting);
  const auto phase = is_due ? ProgressWatch::Phase::kServing : ProgressWatch::Phase::kLoading;
  const auto verdict = watch_.tick(now_ns, phase, lane_->progress());
  if (verdict.stepped) stepped_ns_ = now_ns;
  if (std::exchange(served_, false)) {
    step(RunnerEvent::kServed);
    gpus_.served(devices_);
  }
  oom_watch_.tick(now_ns);
  if (verdict.hung || (serves && leaving() && now_ns - leaving_since_ns_ > leave_limit_ns_)) {
    step(RunnerEvent::kStoodStill);
  }
}

bool RunnerLink::has_lost_a_rank() const {
  for (uint32_t rank = 0; group_ != nullptr && rank < processes_.size(); ++rank) {
    if (group_->failure(rank)) return true;
  }
  return false;
}

void RunnerLink::expect_end() {
  if (leaving() || lane_ == nullptr) return;
  leaving_since_ns_ = monotonic_ns();
  spdlog::warn("runner {} (pid {}): takes no new requests", id_, pid());
}

std::string_view RunnerLink::state_name() const {
  const auto status = supervision_.status();
  return runner_status_name(status == RunnerStatus::kReady && leaving() ? RunnerStatus::kDraining : status);
}

bool RunnerLink::makes_progress(uint64_t now_ns) const {
  return is_ready() && now_ns - stepped_ns_ < kProgressFresh_ns;
}

bool RunnerLink::send(ipc::MessageType type, std::span<const std::byte> body) {
  return lane_ != nullptr && lane_->send(type, body) != ipc::SendOutcome::kRefused;
}

void RunnerLink::send_surely(ipc::MessageType type, std::vector<std::byte> body) {
  if (lane_ == nullptr || (unsent_.empty() && send(type, body))) return;
  unsent_.emplace_back(type, std::move(body));
}

size_t RunnerLink::body_bytes_max() const {
  return lane_ == nullptr ? 0 : lane_->body_bytes_max();
}

void RunnerLink::drain() {
  if (lane_ == nullptr || lied_) return;
  const auto drained = lane_->drain(kMessagesPerTurn, handler_);
  if (!drained && !lied_) {
    spdlog::error("runner {} (pid {}): {}", id_, pid(), drained.error().message);
    lied_ = true;
  }
  if (lied_) {
    step(RunnerEvent::kLied);
    return;
  }
  owner_.on_drained(*this);
}

void RunnerLink::handle(ipc::MessageType type, std::span<const std::byte> body) {
  if (lied_) return;
  if (type == ipc::MessageType::kState) return handle_state(body);
  if (owner_.on_message(*this, type, body)) {
    served_ = served_ || type == ipc::MessageType::kDelta || type == ipc::MessageType::kEmbedding;
    return;
  }
  spdlog::error("runner {} (pid {}): message {} breaks the lane's rules", id_, pid(), static_cast<int>(type));
  lied_ = true;
}

void RunnerLink::handle_state(std::span<const std::byte> body) {
  auto state = ipc::RunnerState::decode(body);
  if (!state) {
    spdlog::error("runner {} (pid {}): {}", id_, pid(), state.error().message);
    lied_ = true;
    return;
  }
  switch (state->phase) {
    case ipc::RunnerPhase::kLoading:
    case ipc::RunnerPhase::kWarming:
      warms_up_ = state->phase == ipc::RunnerPhase::kWarming;
      step(RunnerEvent::kLoading);
      break;
    case ipc::RunnerPhase::kReady: {
      facts_ = std::move(*state);
      stepped_ns_ = monotonic_ns();
      const bool was_ready = is_ready();
      told_all_ = was_ready;
      leaving_since_ns_ = 0;
      loads_behind_ = false;
      step(RunnerEvent::kReady);
      if (was_ready || !is_ready()) break;
      spdlog::info("runner {} ready {:.0f} ms after its start: {} {}, {} tokens of context, {} sequences",
                   id_, static_cast<double>(stepped_ns_ - started_ns_) * 1e-6, facts_->architecture,
                   facts_->weights_type, facts_->context_tokens, facts_->sequences_max);
      owner_.on_ready(*this);
      break;
    }
    case ipc::RunnerPhase::kFailed:
      reported_ = Error{state->code, state->message};
      expect_end();
      break;
    case ipc::RunnerPhase::kDrained:
      drained_ = true;
      [[fallthrough]];
    case ipc::RunnerPhase::kDraining:
      expect_end();
      break;
    case ipc::RunnerPhase::kCount:
      break;
  }
}

// What it had published before it died counts: nothing of it is lost.
void RunnerLink::drain_last_words() {
  while (lane_ != nullptr && !lied_) {
    const auto drained = lane_->drain(kMessagesPerTurn, handler_);
    if (!drained || *drained == 0) return;
  }
}

void RunnerLink::on_process_ended(uint32_t rank) {
  Process& process = processes_[rank];
  if (rank == 0) drain_last_words();
  const auto status = process.child.reap();
  DeathFacts facts;
  facts.status_known = status.known;
  facts.exited = status.exited;
  facts.exit_status = status.exit_status;
  facts.signal = status.signal;
  facts.was_ready = supervision_.status() == RunnerStatus::kReady;
  facts.signalled_by_us = signalled_ || process.killed_with_group;
  facts.out_of_memory = oom_watch_.rose();
  if (rank == 0) {
    facts.drained = drained_;
    facts.cause = lane_->death_cause();
    facts.reported = reported_;
  } else {
    facts.reported = group_->failure(rank);
  }
  const bool told = facts.reported || facts.drained;
  ended_abruptly_ = ended_abruptly_ || (status.known ? !status.exited : !told);
  process.death_poll.reset();
  const bool first = !deaths_.any();
  deaths_.add(rank, facts, process.killed_with_group);
  if (first) end_other_ranks();
  if (deaths_.all()) on_all_ended();
}

// One process of several has ended: the others cannot go on.
void RunnerLink::end_other_ranks() {
  if (processes_.size() > 1) expect_end();
  for (Process& process : processes_) {
    if (process.death_poll == nullptr || process.child.has_ended()) continue;  // it ended by itself
    process.killed_with_group = true;
    process.child.signal(SIGKILL);
  }
}

void RunnerLink::on_all_ended() {
  const auto death = deaths_.verdict();
  const pid_t old_pid = pid();
  const GpuEnd on_gpu{death.device_error, deaths_.cause_rank(), ended_abruptly_, death.text};
  close_process();

  // The requests go back to the queue before a new process exists: it can only get them afterwards.
  const auto before = supervision_.status();
  const auto actions = supervision_.step(RunnerEvent::kDied, monotonic_ns(), &death);
  const auto level = before == RunnerStatus::kDraining ? spdlog::level::info : spdlog::level::warn;
  spdlog::log(level, "runner {} (pid {}): {}; now {}", id_, old_pid, supervision_.last_error(),
              runner_status_name(supervision_.status()));
  owner_.on_died(*this, supervision_.last_blame());
  gpus_.ended(*this, devices_, on_gpu);  // before it asks for another start
  act(actions);
  arrange_timer();
  answer_waiters();
}

void RunnerLink::close_process() {
  wake_poll_.reset();
  lane_.reset();
  supervisor_socket_.reset();
  if (!rendezvous_.empty()) ::unlink(rendezvous_.c_str());
  rendezvous_.clear();
  processes_.clear();
  group_.reset();
  unsent_.clear();
  facts_.reset();
  reported_.reset();
  leaving_since_ns_ = 0;
  drained_ = false;
  warms_up_ = false;
  served_ = false;
  adopted_ = false;
  abi_minor_ = ipc::kAbiMinor;
  signalled_ = ended_abruptly_ = false;
  lied_ = false;
  if (drain_deferred_) {
    // The deferred drain belongs to the lane that is gone.
    *alive_ = false;
    alive_ = std::make_shared<bool>(true);
    drain_deferred_ = false;
  }
}

}  // namespace deepserve::daemon
