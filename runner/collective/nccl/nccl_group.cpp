#include "runner/collective/nccl/nccl_group.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>

namespace deepserve::runner {
namespace {

using nccl::DataType;
using nccl::Status;

constexpr uint64_t kNap_ns = 200 * kMicrosecond_ns;
// A peer's sockets close before its process has ended: so long an error may be the sign of a death to come.
constexpr uint64_t kDeathComes_ns = kSecond_ns;

void take_nap() {
  const timespec nap{.tv_sec = 0, .tv_nsec = static_cast<long>(kNap_ns)};
  nanosleep(&nap, nullptr);
}

Code code_of(Status status) {
  switch (status) {
    case Status::kRemoteError:
      return Code::kRunnerLost;
    case Status::kInvalidUsage:
    case Status::kInvalidArgument:
      return Code::kInvalidConfig;
    case Status::kUnhandledCudaError:
      return Code::kDeviceFault;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Result<std::unique_ptr<NcclGroup>> NcclGroup::join(const nccl::Functions& library, Collective& peers,
                                                   const NcclLimits& limits) {
  std::unique_ptr<NcclGroup> group(new NcclGroup(library, peers, limits));
  TRY(group->connect());
  return group;
}

NcclGroup::~NcclGroup() {
  abort();
}

Result<void> NcclGroup::connect() {
  nccl::UniqueId id{};
  if (rank_ == 0) TRY(called(library_.get_unique_id(&id), "making the group's id"));
  // The others may open their GPUs for longer: they are waited for as long as they live.
  TRY(peers_.broadcast(std::as_writable_bytes(std::span(id.bytes)), 0, Patience::kForever));
  nccl::Configuration configuration;
  configuration.blocking = 0;
  const Status status = library_.init_rank(&communicator_, static_cast<int>(size_), id,
                                           static_cast<int>(rank_), &configuration);
  return settle(status, "joining the group", limits_.join_ns);
}

Result<void> NcclGroup::all_gather(const float* mine, size_t count, float* all, cudaStream_t stream) {
  if (ended_) return tl::unexpected<Error>(*ended_);
  return settle(library_.all_gather(mine, all, count, DataType::kFloat32, communicator_, stream), "gathering",
                limits_.step_ns);
}

Result<void> NcclGroup::exchange(const float* from, float* to, size_t count, cudaStream_t stream) {
  if (ended_) return tl::unexpected<Error>(*ended_);
  TRY(called(library_.group_start(), "exchanging"));
  for (uint32_t peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    const auto number = static_cast<int>(peer);
    TRY(called(library_.send(from + peer * count, count, DataType::kFloat32, number, communicator_, stream),
               "sending"));
    TRY(called(library_.receive(to + peer * count, count, DataType::kFloat32, number, communicator_, stream),
               "receiving"));
  }
  return settle(library_.group_end(), "exchanging", limits_.step_ns);
}

Result<void> NcclGroup::gather(const float* mine, std::span<const size_t> counts, float* all,
                               cudaStream_t stream) {
  if (ended_) return tl::unexpected<Error>(*ended_);
  TRY(called(library_.group_start(), "gathering on rank 0"));
  for (uint32_t peer = 1; peer < size_; ++peer) {
    if (rank_ == 0) {
      TRY(called(library_.receive(all, counts[peer], DataType::kFloat32, static_cast<int>(peer),
                                  communicator_, stream),
                 "receiving"));
      all += counts[peer];
    } else if (peer == rank_) {
      TRY(called(library_.send(mine, counts[rank_], DataType::kFloat32, 0, communicator_, stream),
                 "sending"));
    }
  }
  return settle(library_.group_end(), "gathering on rank 0", limits_.step_ns);
}

Result<void> NcclGroup::called(Status status, std::string_view what) {
  if (status == Status::kSuccess || status == Status::kInProgress) return {};
  return ended(lost_peer_or(error_of(status, what)));
}

// Waits until what was called is on its way.
Result<void> NcclGroup::settle(Status status, std::string_view what, uint64_t limit_ns) {
  const uint64_t begin_ns = monotonic_ns();
  while (status == Status::kInProgress) {
    TRY(called(library_.async_error(communicator_, &status), what));
    if (status != Status::kInProgress) break;
    TRY(look(begin_ns, limit_ns));
    take_nap();
  }
  return called(status, what);
}

Result<void> NcclGroup::look(uint64_t begin_ns, uint64_t limit_ns) {
  if (ended_) return tl::unexpected<Error>(*ended_);
  if (auto live = peers_.all_live(); !live) return ended(std::move(live.error()));
  Status status = Status::kSuccess;
  TRY(called(library_.async_error(communicator_, &status), "asking for errors"));
  TRY(called(status, "exchanging with the other ranks"));
  if (monotonic_ns() - begin_ns < limit_ns) return {};
  if (auto met = peers_.barrier_within(limits_.meet_ns); !met) return ended(std::move(met.error()));
  return ended(
      {Code::kRunnerLost,
       fmt::format("NCCL hangs: all {} ranks live, and what rank {} asked for is not done within {} ms",
                   size_, rank_, limit_ns / kMillisecond_ns)});
}

Error NcclGroup::error_of(Status status, std::string_view what) const {
  const char* last = library_.last_error(communicator_);
  return {code_of(status),
          fmt::format("NCCL, rank {} of {}, {}: {}{}{}", rank_, size_, what, library_.error_string(status),
                      last && *last ? ": " : "", last ? last : "")};
}

// `error`, or what explains it: a peer that has died or given up.
Error NcclGroup::lost_peer_or(Error error) {
  if (error.code == Code::kInvalidConfig) return error;
  const uint64_t begin_ns = monotonic_ns();
  do {
    if (auto live = peers_.all_live(); !live) return std::move(live.error());
    take_nap();
  } while (monotonic_ns() - begin_ns < kDeathComes_ns);
  return error;
}

tl::unexpected<Error> NcclGroup::ended(Error error) {
  end(error);
  return tl::unexpected<Error>(*ended_);
}

void NcclGroup::end(const Error& error) {
  if (ended_) return;
  ended_ = error;
  peers_.abandon(error);  // first: they need not wait for what follows
  abort();
}

// In a thread of its own: where NCCL does not come back, the GPU's memory cannot be freed either, and the
// process ends here, once the others have been told why.
void NcclGroup::abort() {
  if (communicator_ == nullptr) return;
  struct Work {
    std::mutex mutex;
    std::condition_variable is_done;
    bool done = false;
  };
  Work work;
  std::thread thread([&work, abort = library_.abort, communicator = std::exchange(communicator_, nullptr)] {
    abort(communicator);
    const std::lock_guard lock(work.mutex);
    work.done = true;
    work.is_done.notify_one();
  });
  std::unique_lock lock(work.mutex);
  const bool done =
      work.is_done.wait_for(lock, std::chrono::nanoseconds(limits_.abort_ns), [&work] { return work.done; });
  lock.unlock();
  if (done) return thread.join();
  spdlog::critical("NCCL does not give up its communicator within {} ms: exiting{}{}",
                   limits_.abort_ns / kMillisecond_ns, ended_ ? ": " : "", ended_ ? ended_->message : "");
  _exit(EXIT_FAILURE);
}

}  // namespace deepserve::runner
