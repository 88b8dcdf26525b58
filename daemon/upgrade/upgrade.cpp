#include "daemon/upgrade/upgrade.h"

#include <spdlog/spdlog.h>

#include "daemon/upgrade/roll_back.h"
#include "daemon/upgrade/sealed_document.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

Upgrade::Upgrade(Loop& loop, std::vector<std::string> arguments, UpgradeHooks hooks)
    : loop_(loop),
      arguments_(std::move(arguments)),
      hooks_(std::move(hooks)),
      quiet_timer_(loop, [this] { look(); }) {}

void Upgrade::begin(const std::string& path, Failed failed) {
  if (is_going_on()) return failed({Code::kConflict, "an upgrade is going on already"});
  failed_ = std::move(failed);
  const auto start = [&]() -> Result<void> {
    TRY_ASSIGN(auto own, open_own_program());
    TRY_ASSIGN(program_, open_program(path.empty() ? own.path : path));
    trial_ = std::make_unique<Trial>(loop_, [this](const Result<void>& passed) { on_trial(passed); });
    return trial_->start(*program_, arguments_, hooks_.state());
  };
  spdlog::info("upgrade: asking {} whether it can take over", path.empty() ? "the present program" : path);
  if (const auto started = start(); !started) give_up(started.error());
}

void Upgrade::give_up(const Error& why) {
  if (!is_going_on()) return;
  spdlog::error("upgrade: {}; this dsd goes on", why.message);
  quiet_timer_.stop();
  program_.reset();
  if (std::exchange(held_, false)) hooks_.release();
  std::exchange(failed_, nullptr)(why);
}

void Upgrade::on_trial(const Result<void>& passed) {
  if (!is_going_on()) return;
  if (!passed) return give_up(passed.error());
  held_ = true;
  hooks_.hold();
  quiet_since_ns_ = monotonic_ns();
  quiet_timer_.start(0, kQuietLook_ms);
}

void Upgrade::look() {
  const std::string stays = hooks_.stays();
  if (stays.empty()) {
    quiet_timer_.stop();
    return give_up(leave().error());
  }
  if (monotonic_ns() - quiet_since_ns_ < kQuietLimit_ms * kMillisecond_ns) return;
  give_up({Code::kConflict, fmt::format("not now: {} cannot be handed over and has not ended within {} ms",
                                        stays, kQuietLimit_ms)});
}

// Does not return where the new program runs.
Result<void> Upgrade::leave() {
  const uint64_t begun_ns = monotonic_ns();
  HandedState state = hooks_.state();
  state.begun_ns = begun_ns;
  TRY_ASSIGN(const Fd document, seal_document(state.encode()));
  TRY_ASSIGN(const auto own, open_own_program());
  std::vector<std::string> arguments = arguments_;
  arguments[0] = program_->path;
  add_take_over(arguments, {.state_fd = document.get(), .old_program_fd = own.file.get()});
  auto descriptors = state.descriptors();
  descriptors.push_back(document.get());
  descriptors.push_back(own.file.get());
  spdlog::info("upgrade: handing over to {} with {} connection(s)", program_->path, state.connections.size());
  spdlog::default_logger()->flush();
  hooks_.leaving();
  const Error problem = become(program_->file.get(), arguments, descriptors);
  hooks_.stayed();
  return fail(problem.code, "'{}': {}", program_->path, problem.message);
}

}  // namespace deepserve::daemon
