#include "runner/backend/cuda/device_exchange.h"

#include <algorithm>
#include <ctime>

#include "ipc/base/check.h"
#include "ipc/rank_group/group_memory.h"
#include "kernels/cuda/rank_sum.h"

namespace deepserve::runner::cuda {
namespace {

using ipc::kGpuRanksMax;
using kernels::cuda::rank_sum;

static_assert(kGpuRanksMax <= kernels::cuda::kSumRanksMax);

// So many bytes read more cost about what the second round's two launches do: some 15 us of an NVLink. Not
// measured.
constexpr uint64_t kRoundBytes = uint64_t{3} << 20;
constexpr uint64_t kSliceUnit = 4;  // values: slices begin on multiples of 16 bytes
constexpr uint64_t kSpin_ns = kMillisecond_ns;
constexpr uint64_t kNap_ns = 50 * kMicrosecond_ns;
constexpr uint64_t kLook_ns = 5 * kMillisecond_ns;

uint64_t slice_of(uint64_t count, uint32_t ranks) {
  const uint64_t slice = (count + ranks - 1) / ranks;
  return (slice + kSliceUnit - 1) / kSliceUnit * kSliceUnit;
}

// The most values that go in one round.
uint64_t one_round_max(uint32_t ranks, uint64_t total) {
  if (sums_in_one_round(ranks, total)) return total;
  uint64_t low = 0, high = total;  // low goes in one, high does not
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (sums_in_one_round(ranks, middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

bool sums_in_one_round(uint32_t ranks, uint64_t count) {
  // (ranks - 1) * count values come in one round, 2 * (ranks - 1) / ranks * count in two.
  return count * sizeof(float) * (ranks - 1) * (ranks - 2) <= kRoundBytes * ranks;
}

void DeviceExchange::carve(uint8_t* memory, const RankShare& share, const DeviceExchangeOptions& options) {
  Carver carver(memory);
  const uint64_t total = uint64_t{options.tokens_max} * options.embedding;
  const uint64_t slices = ranks_ * slice_of(total, ranks_);
  part_ = carver.take<float>(slices);
  incoming_ = carver.take<float>(std::max(slices, ranks_ * one_round_max(ranks_, total)));
  logits_part_ = carver.take<float>(options.logits_rows * share.vocabulary[rank_]);
  uint64_t others = 0;
  for (uint32_t rank = 1; rank < ranks_ && first(); ++rank) others += share.vocabulary[rank];
  logits_incoming_ = carver.take<float>(options.logits_rows * others);
  used_bytes_ = carver.used_bytes();
}

uint64_t DeviceExchange::memory_bytes(const RankShare& share, const DeviceExchangeOptions& options) {
  if (share.ranks == 1) return 0;
  DeviceExchange exchange;
  exchange.rank_ = share.rank;
  exchange.ranks_ = share.ranks;
  exchange.carve(nullptr, share, options);
  return exchange.used_bytes_;
}

Result<DeviceExchange> DeviceExchange::make(const RankShare& share, NcclGroup* group,
                                            const DeviceExchangeOptions& options) {
  CHECK((group == nullptr) == (share.ranks == 1));
  DeviceExchange exchange;
  if (group == nullptr) return exchange;
  if (share.ranks > kGpuRanksMax) {
    return fail(Code::kInvalidConfig, "a model can be spread over {} GPUs at most, not {}", kGpuRanksMax,
                share.ranks);
  }
  exchange.group_ = group;
  exchange.rank_ = share.rank;
  exchange.ranks_ = share.ranks;
  exchange.embedding_ = options.embedding;
  exchange.vocabulary_ = share.vocabulary;
  exchange.counts_.resize(share.ranks);
  exchange.carve(nullptr, share, options);
  TRY_ASSIGN(exchange.memory_, DeviceMemory::make(exchange.used_bytes_, "the ranks' exchange"));
  exchange.carve(exchange.memory_.data(), share, options);
  return exchange;
}

Result<void> DeviceExchange::add_parts(float* residual, uint32_t tokens, const float* bias,
                                       cudaStream_t stream) {
  const uint64_t count = uint64_t{tokens} * embedding_;
  kernels::cuda::RankSumArguments sum{.parts = part_,
                                      .stride = count,
                                      .ranks = 1,
                                      .count = count,
                                      .out = residual,
                                      .add = true,
                                      .bias = bias,
                                      .width = embedding_};
  if (sums_in_one_round(ranks_, count)) {
    TRY(group_->all_gather(part_, count, incoming_, stream));
    sum.parts = incoming_;
    sum.ranks = ranks_;
  } else {
    TRY(add_in_two_rounds(count, stream));
  }
  return launched(rank_sum(sum, stream));
}

// part_ = the sum of all parts.
Result<void> DeviceExchange::add_in_two_rounds(uint64_t count, cudaStream_t stream) {
  const uint64_t slice = slice_of(count, ranks_);
  float* own = part_ + rank_ * slice;
  TRY(group_->exchange(part_, incoming_, slice, stream));
  TRY(launched(rank_sum({.parts = incoming_,
                         .stride = slice,
                         .own = own,
                         .rank = rank_,
                         .ranks = ranks_,
                         .count = slice,
                         .out = own},
                        stream)));
  return group_->all_gather(own, slice, part_, stream);
}

Result<void> DeviceExchange::gather_logits(uint32_t rows, float* logits, cudaStream_t stream) {
  for (uint32_t rank = 0; rank < ranks_; ++rank) counts_[rank] = rows * vocabulary_[rank];
  TRY(group_->gather(logits_part_, counts_, logits_incoming_, stream));
  if (!first()) return {};
  size_t vocabulary = 0;
  for (const size_t of_rank : vocabulary_) vocabulary += of_rank;
  const float* from = logits_part_;
  float* to = logits;
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    const size_t bytes = vocabulary_[rank] * sizeof(float);
    TRY(checked(cudaMemcpy2DAsync(to, vocabulary * sizeof(float), from, bytes, bytes, rows,
                                  cudaMemcpyDeviceToDevice, stream),
                "putting logits together"));
    to += vocabulary_[rank];
    from = rank == 0 ? logits_incoming_ : from + counts_[rank];
  }
  return {};
}

Result<void> DeviceExchange::wait(cudaStream_t stream) {
  if (alone()) return checked(cudaStreamSynchronize(stream), "a step");
  const uint64_t begin_ns = monotonic_ns();
  for (uint64_t looked_ns = begin_ns;;) {
    const cudaError_t state = cudaStreamQuery(stream);
    if (state != cudaErrorNotReady) return checked(state, "a step");
    cudaGetLastError();  // it is no error
    const uint64_t now_ns = monotonic_ns();
    if (now_ns - looked_ns >= kLook_ns) {
      TRY(group_->look(begin_ns));
      looked_ns = now_ns;
    }
    if (now_ns - begin_ns < kSpin_ns) continue;
    const timespec nap{.tv_sec = 0, .tv_nsec = static_cast<long>(kNap_ns)};
    nanosleep(&nap, nullptr);
  }
}

void DeviceExchange::give_up(const Error& error) {
  if (!alone()) group_->end(error);
}

Result<void> DeviceExchange::connect(NcclGroup& group) {
  RankShare share;
  share.rank = group.rank();
  share.ranks = group.size();
  share.vocabulary.assign(group.size(), 1);
  constexpr uint32_t kValues = 1024;
  TRY_ASSIGN(DeviceExchange exchange,
             make(share, &group, {.tokens_max = 1, .embedding = kValues, .logits_rows = 1}));
  TRY_ASSIGN(const Stream stream, make_stream());
  TRY_ASSIGN(const DeviceMemory out, DeviceMemory::make(kValues * sizeof(float), "trial"));
  auto* to = reinterpret_cast<float*>(out.data());
  auto done = [&]() -> Result<void> {
    TRY(exchange.add_parts(to, 1, nullptr, stream.get()));
    TRY(exchange.add_in_two_rounds(kValues, stream.get()));
    TRY(exchange.gather_logits(1, to, stream.get()));
    return exchange.wait(stream.get());
  }();
  if (!done) exchange.give_up(done.error());
  return done;
}

}  // namespace deepserve::runner::cuda
