#include "runner/lane/rank_server.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include "ipc/base/log.h"
#include "runner/backend/rank_group.h"
#include "runner/device_kind.h"
#include "runner/lane/fatal_signals.h"
#include "runner/lane/load_priority.h"
#include "runner/lane/process_share.h"
#include "runner/lane/sandbox.h"
#include "runner/lane/server.h"
#include "runner/model/loaded_model.h"
#include "runner/model/model_paths.h"

namespace deepserve::runner {
namespace {

Result<void> follow(const ServeOptions& options, std::shared_ptr<ipc::GroupMemory> memory) {
  TRY(take_share(options));
  LoadPriority priority(options.load_nice);
  TRY_ASSIGN(const auto collective, SharedCollective::join(std::move(memory), {.rank = options.rank}));
  TRY_ASSIGN(const DeviceKind device, device_kind(options.kind));  // rank 0 has the same
  BackendOptions backend = backend_options_of(options, device);
  backend.collective = collective.get();
  TRY_ASSIGN(const auto nccl, device.open(backend));
  backend.nccl = nccl.get();
  const auto readable = paths_of_model(options.model);
  if (!readable) {
    collective->abandon(readable.error());
    return tl::unexpected<Error>(readable.error());
  }
  spdlog::info("loading rank {} of {} of {}; sandbox: {}", options.rank, options.ranks,
               options.model.string(), enter_sandbox_with(device, *readable));
  backend.aside = [&priority](const auto& work) { priority.aside(work); };
  TRY_ASSIGN(const LoadedModel model, load_model(options.model, backend));
  priority.end();
  spdlog::info("rank {} of {} is loaded", options.rank, options.ranks);
  return follow_rank_0(*model.backend, *collective);
}

}  // namespace

Result<std::shared_ptr<ipc::GroupMemory>> map_inherited_group(const ServeOptions& options, Fd& descriptor) {
  if (fcntl(ipc::kRankGroupFd, F_SETFD, FD_CLOEXEC) != 0) {
    return fail(Code::kBadLane, "descriptor {} is not open: ranks are started by dsd, which hands them it",
                ipc::kRankGroupFd);
  }
  descriptor.reset(ipc::kRankGroupFd);
  TRY_ASSIGN(auto memory, ipc::GroupMemory::map(descriptor, options.epoch));
  if (memory->facts().ranks != options.ranks) {
    return fail(Code::kBadLane, "the group's memory is for {} ranks, not {}", memory->facts().ranks,
                options.ranks);
  }
  return memory;
}

int serve_rank(const ServeOptions& options) {
  init_log(fmt::format("ds-runner {} rank {}", options.name, options.rank), LogLevel::kInfo);
  for (const int number : {SIGTERM, SIGINT, SIGPIPE}) signal(number, SIG_IGN);
  Fd descriptor;
  auto memory = map_inherited_group(options, descriptor);
  if (!memory) {
    spdlog::error("{}", memory.error().message);
    return kExitFailed;
  }
  // Shared with the handlers of fatal signals, which may need it until the very end.
  static const std::shared_ptr<ipc::GroupMemory> group = std::move(*memory);
  report_fatal_signals_to(*group, options.rank, options.memory_limit_bytes.value_or(0));
  const auto done = follow(options, group);
  if (done) {
    spdlog::info("exiting: rank 0 ends");
    return kExitDone;
  }
  const Error error = with_memory_limit(done.error(), options);
  group->record_failure(options.rank, error.code, error.message, error.device_error);
  spdlog::error("{}", error.message);
  return kExitFailed;
}

}  // namespace deepserve::runner
