// A libnccl.so.2 without GPUs: between processes on emulated ones (tests/gpu/emulator), whose streams it puts
// its work into. It does as NCCL's documentation says of a communicator that does not block, and it fails as
// the environment says: FAKE_NCCL="version=22809 rank=1 call=2 fault=die": at its second operation (0: as it
// joins) rank 1
//   die     is killed
//   stop    is stopped
//   hang    puts work into the stream that is never done
//   stuck   the same, and does not give up its communicator either
//   remote  has an error that comes later: a peer is lost
//   system  is refused the call
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/collective/nccl/nccl_api.h"
#include "tests/gpu/fake_nccl/channels.h"

namespace fake = deepserve::fake_nccl;
using deepserve::runner::nccl::Configuration;
using deepserve::runner::nccl::DataType;
using deepserve::runner::nccl::Status;
using deepserve::runner::nccl::UniqueId;

namespace deepserve::runner::nccl {
struct CommunicatorState {
  fake::Memory* memory = nullptr;
  int rank = 0;
  int ranks = 0;
  int operations = 0;
  int busy = 0;  // so often it says that it is in progress still
  bool has_joined = false;
  bool is_aborted = false;
  bool hangs = false;
  bool is_stuck = false;
  Status error = Status::kSuccess;
};
}  // namespace deepserve::runner::nccl
using deepserve::runner::nccl::Communicator;
using deepserve::runner::nccl::CommunicatorState;

namespace {

constexpr int kBusyTurns = 3;
std::string last_error;

// The value of `name` in FAKE_NCCL, words of name=value; "": it is not there.
std::string option(std::string_view name) {
  const char* text = getenv("FAKE_NCCL");
  std::string_view left = text == nullptr ? "" : text;
  while (!left.empty()) {
    const std::string_view word = left.substr(0, left.find(' '));
    const size_t equals = word.find('=');
    if (equals != word.npos && word.substr(0, equals) == name) return std::string(word.substr(equals + 1));
    left.remove_prefix(std::min(word.size() + 1, left.size()));
  }
  return {};
}

// What is to be returned for the operation that begins now.
Status begin_operation(Communicator communicator) {
  CommunicatorState& state = *communicator;
  const int number = state.operations++;
  if (state.error != Status::kSuccess) return state.error;
  const std::string fault = option("fault");
  if (fault.empty() || option("rank") != std::to_string(state.rank)) return Status::kSuccess;
  if (option("call") != std::to_string(number)) return Status::kSuccess;
  if (fault == "die") raise(SIGKILL);
  if (fault == "stop") raise(SIGSTOP);
  state.hangs = fault == "hang" || fault == "stuck";
  state.is_stuck = fault == "stuck";
  if (fault == "remote") state.error = Status::kRemoteError;
  if (fault == "system") return Status::kSystemError;
  return Status::kSuccess;
}

struct Operation {
  Communicator communicator = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<fake::Transfer> transfers;
};

int group_depth = 0;
Operation group;

Status add(const Operation& operation) {
  if (const Status status = begin_operation(operation.communicator); status != Status::kSuccess)
    return status;
  Communicator communicator = operation.communicator;
  deepserve::emulator::enqueue(operation.stream, [communicator, transfers = operation.transfers]() mutable {
    if (communicator->is_aborted) return cudaSuccess;
    bool is_done = !communicator->hangs;
    for (fake::Transfer& transfer : transfers) is_done = transfer.go_on() && is_done;
    return is_done ? cudaSuccess : cudaErrorNotReady;
  });
  // As a connection that is made by an operation, in the background.
  if (communicator->operations > kBusyTurns) return Status::kSuccess;
  communicator->busy = kBusyTurns;
  return Status::kInProgress;
}

fake::Transfer transfer(Communicator communicator, int peer, const void* at, size_t count, bool sends) {
  fake::Memory& memory = *communicator->memory;
  fake::Channel& channel =
      sends ? memory.channels[communicator->rank][peer] : memory.channels[peer][communicator->rank];
  return {&channel, static_cast<uint8_t*>(const_cast<void*>(at)), count * sizeof(float), sends};
}

Status add_transfer(Communicator communicator, int peer, const void* at, size_t count, DataType type,
                    bool sends, cudaStream_t stream) {
  if (group_depth == 0 || type != DataType::kFloat32 || peer < 0 || peer >= communicator->ranks)
    return Status::kInvalidArgument;
  group.communicator = communicator;
  group.stream = stream;
  group.transfers.push_back(transfer(communicator, peer, at, count, sends));
  return Status::kSuccess;
}

// All have joined, and each with a GPU of its own.
Status joined(CommunicatorState& state) {
  for (int rank = 0; rank < state.ranks; ++rank) {
    if (state.memory->ranks[rank].has_joined.load(std::memory_order_acquire) == 0) return Status::kInProgress;
  }
  state.has_joined = true;
  for (int rank = 0; rank < state.ranks; ++rank) {
    const char *theirs = state.memory->ranks[rank].device, *own = state.memory->ranks[state.rank].device;
    if (rank == state.rank || std::strcmp(theirs, own) != 0) continue;
    last_error = "Duplicate GPU detected : rank " + std::to_string(state.rank) + " and rank " +
                 std::to_string(rank) + " both on CUDA device " + own;
    state.error = Status::kInvalidUsage;
  }
  return state.error;
}

}  // namespace

extern "C" {

Status ncclGetVersion(int* version) {
  const std::string configured = option("version");
  *version = configured.empty() ? 22'809 : std::stoi(configured);
  return Status::kSuccess;
}

Status ncclGetUniqueId(UniqueId* id) {
  fake::make_memory(id->bytes);
  return Status::kSuccess;
}

const char* ncclGetErrorString(Status status) {
  constexpr const char* kTexts[] = {
      "no error",         "unhandled cuda error", "unhandled system error",    "internal error",
      "invalid argument", "invalid usage",        "remote process has exited", "in progress"};
  return kTexts[static_cast<size_t>(status)];
}

const char* ncclGetLastError(Communicator) {
  return last_error.c_str();
}

Status ncclCommInitRankConfig(Communicator* communicator, int ranks, UniqueId id, int rank,
                              Configuration* configuration) {
  const bool is_known = configuration->magic == 0xcafebeef && configuration->size >= 24;
  if (!is_known || configuration->blocking != 0 || ranks > fake::kRanksMax) return Status::kInvalidArgument;
  auto* state = new CommunicatorState;  // outlives the work that it has in streams
  static auto& all = *new std::vector<CommunicatorState*>;
  all.push_back(state);
  state->memory = fake::map_memory(id.bytes);
  state->rank = rank;
  state->ranks = ranks;
  *communicator = state;
  if (state->memory == nullptr) return Status::kSystemError;
  if (const Status status = begin_operation(state); status != Status::kSuccess) return status;
  if (state->hangs) return Status::kInProgress;
  const char* device = getenv("CUDA_VISIBLE_DEVICES");
  fake::Rank& own = state->memory->ranks[rank];
  std::strncpy(own.device, device == nullptr ? "0" : device, sizeof own.device - 1);
  own.has_joined.store(1, std::memory_order_release);
  return Status::kInProgress;
}

Status ncclCommGetAsyncError(Communicator communicator, Status* status) {
  CommunicatorState& state = *communicator;
  *status = state.error;
  if (state.error != Status::kSuccess) return Status::kSuccess;
  if (!state.has_joined) *status = joined(state);
  if (state.busy > 0) *status = Status::kInProgress, --state.busy;
  return Status::kSuccess;
}

Status ncclCommAbort(Communicator communicator) {
  while (communicator->is_stuck) pause();
  communicator->is_aborted = true;
  return Status::kSuccess;
}

Status ncclGroupStart() {
  ++group_depth;
  return Status::kSuccess;
}

Status ncclGroupEnd() {
  if (group_depth == 0) return Status::kInvalidUsage;
  if (--group_depth != 0 || group.transfers.empty()) return Status::kSuccess;
  return add(std::exchange(group, {}));
}

Status ncclAllGather(const void* mine, void* all, size_t count, DataType type, Communicator communicator,
                     cudaStream_t stream) {
  if (type != DataType::kFloat32) return Status::kInvalidArgument;
  Operation operation{communicator, stream, {}};
  auto* place = static_cast<float*>(all);
  for (int peer = 0; peer < communicator->ranks; ++peer) {
    float* of_peer = place + static_cast<size_t>(peer) * count;
    if (peer == communicator->rank && of_peer == mine) continue;
    // To itself, too, where it is not in place: its channel to itself.
    operation.transfers.push_back(transfer(communicator, peer, mine, count, true));
    operation.transfers.push_back(transfer(communicator, peer, of_peer, count, false));
  }
  return add(operation);
}

Status ncclSend(const void* from, size_t count, DataType type, int peer, Communicator communicator,
                cudaStream_t stream) {
  return add_transfer(communicator, peer, from, count, type, true, stream);
}

Status ncclRecv(void* to, size_t count, DataType type, int peer, Communicator communicator,
                cudaStream_t stream) {
  return add_transfer(communicator, peer, to, count, type, false, stream);
}

}  // extern "C"
