#include "runner/collective/shared_collective.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ipc/base/check.h"
#include "runner/collective/futex.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace deepserve::runner {
namespace {

constexpr uint32_t kSpinsPerClock = 64;  // the clock costs as much as several looks
constexpr uint64_t kNapFirst_ns = kMillisecond_ns;
constexpr uint64_t kNapMaxStep_ns = 10 * kMillisecond_ns;
constexpr uint64_t kNapMaxForever_ns = 100 * kMillisecond_ns;
// Up to so many values read from peers, one round is faster than two with half the reading.
constexpr size_t kOneRoundValues = 8192;
constexpr size_t kAddValues = 2048;  // added at a time: they stay in the first-level cache

// What a rank notes of its round: the kind in the top 4 bits, then 8 bits of root, then the size of the
// whole.
enum class Kind : uint64_t { kReduce = 1, kReduceSlices, kGather, kBroadcast, kBarrier };

constexpr uint64_t operation_of(Kind kind, uint64_t size, uint64_t root = 0) {
  return static_cast<uint64_t>(kind) << 60 | root << 52 | (size & ((uint64_t{1} << 52) - 1));
}

std::string operation_text(uint64_t operation) {
  constexpr std::string_view kNames[] = {"nothing",     "a reduction", "a reduction's slices",
                                         "a gathering", "a broadcast", "a barrier"};
  const uint64_t kind = operation >> 60;
  return fmt::format("{} of {}", kind < std::size(kNames) ? kNames[kind] : "something unknown",
                     operation & ((uint64_t{1} << 52) - 1));
}

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

Result<std::unique_ptr<SharedCollective>> SharedCollective::join(std::shared_ptr<ipc::GroupMemory> memory,
                                                                 const JoinOptions& options) {
  TRY_ASSIGN(PeerWatch peers, PeerWatch::join(memory, options.rank, options.join_ns));
  return std::unique_ptr<SharedCollective>(
      new SharedCollective(std::move(memory), std::move(peers), options));
}

SharedCollective::SharedCollective(std::shared_ptr<ipc::GroupMemory> memory, PeerWatch peers,
                                   const JoinOptions& options)
    : memory_(std::move(memory)),
      peers_(std::move(peers)),
      options_(options),
      buffer_bytes_(memory_->facts().buffer_bytes) {
  round_ = memory_->words(options.rank).entered.load(std::memory_order_relaxed);  // our own: 0 in a new group
  for (uint32_t rank = 0; rank < memory_->facts().ranks; ++rank) {
    words_.push_back(&memory_->words(rank));
    for (const uint32_t parity : {0u, 1u})
      buffers_.push_back(reinterpret_cast<float*>(memory_->buffer(rank, parity).data()));
  }
}

tl::unexpected<Error> SharedCollective::end_group(Error error) {
  ended_ = std::move(error);
  return tl::unexpected<Error>(*ended_);
}

Result<void> SharedCollective::still_whole() const {
  if (ended_) return tl::unexpected<Error>(*ended_);
  return {};
}

void SharedCollective::abandon(const Error& error) {
  if (!ended_) ended_ = error;
  memory_->record_failure(options_.rank, error.code, error.message, error.device_error);
  futex_wake_all(words_[options_.rank]->entered);  // who waits for this rank reads it now
}

// The buffers of the next round's parity are free once all have entered the round before it.
Result<void> SharedCollective::begin_round() {
  TRY(still_whole());
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer != rank()) TRY(await_number(peer, Patience::kStep));
  }
  ++round_;
  return {};
}

// What this rank gives lies in its buffer.
void SharedCollective::enter_round(uint64_t operation) {
  operation_ = operation;
  ipc::RankWords& own = *words_[rank()];
  own.operations[round_ & 1].store(operation, std::memory_order_relaxed);
  own.entered.store(round_, std::memory_order_seq_cst);
  if (own.sleepers.load(std::memory_order_seq_cst) != 0) futex_wake_all(own.entered);
}

Result<void> SharedCollective::await_all(Patience patience) {
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer != rank()) TRY(await(peer, patience));
  }
  return {};
}

// Until `peer` has entered this rank's round, for the same purpose.
Result<void> SharedCollective::await(uint32_t peer, Patience patience) {
  TRY(await_number(peer, patience));
  return check_operation(peer);
}

Result<void> SharedCollective::await_number(uint32_t peer, Patience patience) {
  const ipc::RankWords& words = *words_[peer];
  uint64_t begin_ns = 0;
  for (uint32_t turn = 0;; ++turn) {
    const uint32_t number = words.entered.load(std::memory_order_acquire);
    if (has_entered(number)) return check_number(peer, number);
    relax();
    if (turn % kSpinsPerClock != 0) continue;
    const uint64_t now_ns = monotonic_ns();
    if (begin_ns == 0) begin_ns = now_ns;
    if (now_ns - begin_ns >= options_.spin_ns) return sleep_until_entered(peer, patience);
  }
}

Result<void> SharedCollective::sleep_until_entered(uint32_t peer, Patience patience) {
  ipc::RankWords& words = *words_[peer];
  const uint64_t begin_ns = monotonic_ns();
  const uint64_t nap_max_ns = patience == Patience::kForever ? kNapMaxForever_ns : kNapMaxStep_ns;
  for (uint64_t nap_ns = kNapFirst_ns;; nap_ns = std::min(nap_ns * 2, nap_max_ns)) {
    words.sleepers.fetch_add(1, std::memory_order_seq_cst);
    uint32_t number = words.entered.load(std::memory_order_seq_cst);
    if (!has_entered(number)) futex_wait(words.entered, number, nap_ns);
    words.sleepers.fetch_sub(1, std::memory_order_seq_cst);
    const auto live = peers_.all_live();  // before the next look: what the dead had stored counts
    number = words.entered.load(std::memory_order_acquire);
    if (has_entered(number)) return check_number(peer, number);
    if (!live) return end_group(live.error());
    if (patience == Patience::kStep && monotonic_ns() - begin_ns >= options_.patience_ns) {
      return end_group({Code::kRunnerLost,
                        fmt::format("{} hangs: it did not come to {} within {} ms", peers_.name(peer),
                                    operation_text(operation_), options_.patience_ns / kMillisecond_ns)});
    }
  }
}

// A peer that keeps the rules is at most one round ahead.
Result<void> SharedCollective::check_number(uint32_t peer, uint32_t number) {
  const uint32_t ahead = number - round_;
  if (ahead <= 1) return {};
  return end_group({Code::kBadLane, fmt::format("{} broke the rules of its group: it is {} rounds ahead",
                                                peers_.name(peer), ahead)});
}

Result<void> SharedCollective::check_operation(uint32_t peer) {
  const uint64_t theirs = words_[peer]->operations[round_ & 1].load(std::memory_order_relaxed);
  if (theirs == operation_) return {};
  return end_group({Code::kBadLane, fmt::format("{} is at {} where this rank is at {}", peers_.name(peer),
                                                operation_text(theirs), operation_text(operation_))});
}

Result<void> SharedCollective::all_reduce_sum(std::span<float> values) {
  const size_t piece = buffer_bytes_ / sizeof(float);
  for (size_t begin = 0; begin < values.size(); begin += piece)
    TRY(reduce_piece(values.subspan(begin, std::min(piece, values.size() - begin))));
  return {};
}

Result<void> SharedCollective::reduce_piece(std::span<float> values) {
  TRY(begin_round());
  std::memcpy(floats(rank()), values.data(), values.size_bytes());
  enter_round(operation_of(Kind::kReduce, values.size()));
  TRY(await_all());
  if (values.size() * (size() - 1) <= kOneRoundValues) {
    add_values(0, values.size(), values.data());
    return {};
  }
  const auto slice_begin = [&](size_t slice) { return values.size() * slice / size(); };
  const size_t begin = slice_begin(rank()), end = slice_begin(rank() + 1);
  add_values(begin, end, values.data() + begin);
  TRY(begin_round());
  std::memcpy(floats(rank()) + begin, values.data() + begin, (end - begin) * sizeof(float));
  enter_round(operation_of(Kind::kReduceSlices, values.size()));
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    TRY(await(peer, Patience::kStep));
    const size_t first = slice_begin(peer), count = slice_begin(peer + 1) - first;
    std::memcpy(values.data() + first, floats(peer) + first, count * sizeof(float));
  }
  return {};
}

// sums[i - begin] = the sum of all ranks' values i.
void SharedCollective::add_values(size_t begin, size_t end, float* sums) const {
  for (size_t first = begin; first < end; first += kAddValues)
    add_ranks(0, size(), first, std::min(kAddValues, end - first), sums + (first - begin));
}

// sums[i] = the sum of ranks [first, end)'s values begin + i, for up to kAddValues of them.
void SharedCollective::add_ranks(uint32_t first, uint32_t end, size_t begin, size_t count,
                                 float* sums) const {
  if (end - first == 1) {
    std::memcpy(sums, floats(first) + begin, count * sizeof(float));
    return;
  }
  const uint32_t middle = first + (end - first) / 2;
  add_ranks(first, middle, begin, count, sums);
  float others[kAddValues];
  const float* right = floats(middle) + begin;
  if (end - middle > 1) {
    add_ranks(middle, end, begin, count, others);
    right = others;
  }
  for (size_t i = 0; i < count; ++i) sums[i] += right[i];
}

Result<void> SharedCollective::all_gather(std::span<const float> mine, std::span<const size_t> counts,
                                          std::span<float> all) {
  CHECK(counts.size() == size() && counts[rank()] == mine.size());
  size_t total = 0;
  for (const size_t count : counts) total += count;
  CHECK(all.empty() || all.size() == total);
  const size_t most = *std::max_element(counts.begin(), counts.end());
  for (size_t offset = 0; offset < most; offset += buffer_bytes_ / sizeof(float))
    TRY(gather_piece(mine, counts, offset, operation_of(Kind::kGather, total), all));
  return {};
}

// The part of each rank's values that begins at `offset`.
Result<void> SharedCollective::gather_piece(std::span<const float> mine, std::span<const size_t> counts,
                                            size_t offset, uint64_t operation, std::span<float> all) {
  const auto part = [&](size_t count) {
    return std::min(count - std::min(count, offset), buffer_bytes_ / sizeof(float));
  };
  TRY(begin_round());
  const size_t own = part(mine.size());
  if (own != 0) std::memcpy(floats(rank()), mine.data() + offset, own * sizeof(float));
  enter_round(operation);
  if (all.empty()) return {};
  float* next = all.data();
  for (uint32_t peer = 0; peer < size(); next += counts[peer++]) {
    const size_t count = part(counts[peer]);
    if (peer != rank()) TRY(await(peer, Patience::kStep));
    if (count == 0) continue;
    const float* from = peer == rank() ? mine.data() + offset : floats(peer);
    if (from != next + offset) std::memcpy(next + offset, from, count * sizeof(float));
  }
  return {};
}

Result<void> SharedCollective::broadcast(std::span<std::byte> bytes, uint32_t root, Patience patience) {
  CHECK(root < size());
  const uint64_t operation = operation_of(Kind::kBroadcast, bytes.size(), root);
  for (size_t begin = 0; begin < bytes.size(); begin += buffer_bytes_) {
    const auto piece = bytes.subspan(begin, std::min(buffer_bytes_, bytes.size() - begin));
    TRY(begin_round());
    if (rank() == root) std::memcpy(this->bytes(rank()), piece.data(), piece.size());
    enter_round(operation);
    if (rank() == root) continue;
    TRY(await(root, begin == 0 ? patience : Patience::kStep));
    std::memcpy(piece.data(), this->bytes(root), piece.size());
  }
  return {};
}

Result<void> SharedCollective::barrier(Patience patience) {
  TRY(begin_round());
  enter_round(operation_of(Kind::kBarrier, 0));
  return await_all(patience);
}

Result<void> SharedCollective::barrier_within(uint64_t limit_ns) {
  const uint64_t patience_ns = std::exchange(options_.patience_ns, limit_ns);
  auto met = barrier(Patience::kStep);
  options_.patience_ns = patience_ns;
  return met;
}

Result<void> SharedCollective::all_live() {
  TRY(still_whole());
  if (auto live = peers_.all_live(); !live) return end_group(std::move(live.error()));
  return {};
}

}  // namespace deepserve::runner
