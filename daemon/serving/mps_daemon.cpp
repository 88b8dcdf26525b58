#include "daemon/serving/mps_daemon.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <sstream>

#include "daemon/supervise/mps_processes.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

namespace fs = std::filesystem;

// Nobody else's, and without what an earlier daemon left there.
Result<void> make_directories(const std::string& directory, const std::string& gpu) {
  std::error_code error;
  fs::remove_all(mps_pipe_dir(directory, gpu), error);
  for (const auto& path : {mps_pipe_dir(directory, gpu), mps_log_dir(directory, gpu)}) {
    fs::create_directories(path, error);
    if (!error) fs::permissions(path, fs::perms::owner_all, error);
    if (error) return fail(Code::kIo, "cannot make the directory '{}': {}", path, error.message());
  }
  fs::permissions(directory, fs::perms::owner_all, error);
  return {};
}

std::vector<pid_t> pids_in(const std::string& answer) {
  std::vector<pid_t> pids;
  std::istringstream lines(answer);
  for (pid_t pid = 0; lines >> pid;) {
    if (pid > 1) pids.push_back(pid);
  }
  return pids;
}

}  // namespace

MpsDaemon::MpsDaemon(Loop& loop, const SupervisionLimits& limits, std::string directory, std::string gpu,
                     Hooks hooks)
    : loop_(loop),
      directory_(std::move(directory)),
      gpu_(std::move(gpu)),
      hooks_(std::move(hooks)),
      supervision_(limits),
      timer_(loop, [this] { step(RunnerEvent::kTimer); }),
      ask_again_(loop, [this] { ask_whether_ready(); }) {}

MpsDaemon::~MpsDaemon() {
  kill_now();
}

void MpsDaemon::start() {
  switch (supervision_.status()) {
    case RunnerStatus::kDraining:
    case RunnerStatus::kHung:
      start_again_ = true;
      return;
    case RunnerStatus::kFailed:
      return step(RunnerEvent::kRestart);
    case RunnerStatus::kBackoff:
      return release();
    default:
      return step(RunnerEvent::kStart);
  }
}

Result<void> MpsDaemon::adopt(const ipc::ProcessIdentity& process) {
  TRY_ASSIGN(auto child, Child::adopt(process));
  child_ = std::make_unique<Child>(std::move(child));
  spdlog::info("GPU {}: the MPS daemon of an earlier daemon goes on, pid {}", gpu_, pid());
  watch();
  step(RunnerEvent::kAdopt);
  return {};
}

void MpsDaemon::stop() {
  start_again_ = false;
  if (child_ != nullptr) say("quit\n", [](auto) {});
  step(RunnerEvent::kStop);
}

void MpsDaemon::release() {
  step(RunnerEvent::kReleased);
}

void MpsDaemon::kill_now() {
  if (child_ != nullptr) child_->kill_group();
}

void MpsDaemon::step(RunnerEvent event, const Death* death) {
  const auto actions = supervision_.step(event, monotonic_ns(), death);
  const bool gives_up = event == RunnerEvent::kDied && supervision_.status() == RunnerStatus::kFailed;
  act(actions);
  arrange_timer();
  if (gives_up) hooks_.given_up(supervision_.last_error());
}

void MpsDaemon::act(RunnerActions actions) {
  if (actions.signal == SIGKILL) {
    kill_now();
  } else if (actions.signal != 0 && child_ != nullptr) {
    child_->signal(actions.signal);
  }
  if (!actions.spawn) return;
  if (!hooks_.may_start()) return step(RunnerEvent::kHeld);
  const auto spawned = spawn();
  if (spawned) return;
  const bool is_missing = spawned.error().code == Code::kNotFound;
  if (!is_missing) spdlog::error("GPU {}: {}", gpu_, spawned.error().message);
  const Death death{Blame::kRunner, is_missing, "spawn", spawned.error().message};
  step(RunnerEvent::kDied, &death);
}

Result<void> MpsDaemon::spawn() {
  const std::string program = find_mps_control();
  if (program.empty()) return fail(Code::kNotFound, "there is no nvidia-cuda-mps-control on PATH");
  TRY(make_directories(directory_, gpu_));
  TRY_ASSIGN(auto child, Child::spawn({program, "-f"}, {}, hooks_.environment()));
  child_ = std::make_unique<Child>(std::move(child));
  spdlog::info("GPU {}: MPS daemon started, pid {}", gpu_, pid());
  watch();
  return {};
}

void MpsDaemon::watch() {
  started_ns_ = monotonic_ns();
  death_poll_ = std::make_unique<Poll>(loop_, child_->pidfd(), [this](int, int) { on_ended(); });
  death_poll_->watch(kReadable);
  loop_.defer([this] { ask_whether_ready(); });
}

// Until it answers for the first time; a client that came earlier would do without MPS.
void MpsDaemon::ask_whether_ready() {
  if (child_ == nullptr || supervision_.status() != RunnerStatus::kStarting) return;
  if (monotonic_ns() - started_ns_ > kAnswerLimit_ns) {
    spdlog::warn("GPU {}: the MPS daemon (pid {}) does not answer", gpu_, pid());
    return step(RunnerEvent::kStoodStill);
  }
  say("get_server_list\n", [this](const Result<std::string>& answer) {
    if (child_ == nullptr || supervision_.status() != RunnerStatus::kStarting) return;
    if (!answer) return ask_again_.start(kAskAgain_ms);
    step(RunnerEvent::kReady);
    hooks_.ready();
  });
}

void MpsDaemon::say(const std::string& words, MpsCommand::Done done) {
  auto& place = commands_.emplace_back();
  place = std::make_unique<MpsCommand>(loop_, find_mps_control(), hooks_.environment(), words,
                                       [this, &place, told = std::move(done)](Result<std::string> answer) {
                                         const auto finished = std::move(place);
                                         commands_.remove_if([](const auto& one) { return one == nullptr; });
                                         told(std::move(answer));
                                       });
}

void MpsDaemon::terminate_client(pid_t client, std::function<void()> done) {
  if (supervision_.status() != RunnerStatus::kReady) return loop_.defer(std::move(done));
  say("get_server_list\n", [this, client, told = std::move(done)](const Result<std::string>& answer) {
    std::string words;
    for (const pid_t server : answer ? pids_in(*answer) : std::vector<pid_t>())
      words += fmt::format("terminate_client {} {}\n", server, client);
    if (words.empty()) return told();
    say(words, [told](auto) { told(); });
  });
}

void MpsDaemon::on_ended() {
  child_->kill_group();  // its servers
  const ChildStatus status = child_->reap();
  death_poll_.reset();
  child_.reset();
  ask_again_.stop();
  DeathFacts facts;
  facts.status_known = status.known;
  facts.exited = status.exited;
  facts.exit_status = status.exit_status;
  facts.signal = status.signal;
  Death death = classify_death(facts);
  death.text = "the MPS daemon " + death.text;
  death.blame = Blame::kRunner;  // whoever killed it: its clients are lost, and so is who comes too often
  const bool was_asked = supervision_.status() == RunnerStatus::kDraining;
  spdlog::log(was_asked ? spdlog::level::info : spdlog::level::warn, "GPU {}: {}", gpu_, death.text);
  if (!was_asked) hooks_.gone();
  step(RunnerEvent::kDied, &death);
  if (supervision_.status() == RunnerStatus::kStopped && std::exchange(start_again_, false)) start();
}

void MpsDaemon::arrange_timer() {
  const uint64_t at_ns = supervision_.timer_at_ns();
  if (at_ns == 0) return timer_.stop();
  const uint64_t now_ns = monotonic_ns();
  timer_.start(at_ns <= now_ns ? 0 : (at_ns - now_ns + kMillisecond_ns - 1) / kMillisecond_ns);
}

}  // namespace deepserve::daemon
