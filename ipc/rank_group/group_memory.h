// The shared memory of a rank group: the runner processes that one model is spread over (DESIGN 2). One
// sealed memfd, made by whoever starts the ranks (dsd, or rank 0 of a command) and inherited by each of them.
//
// What lies there: a header that never changes; for each rank a few words that only this rank writes (how far
// it has come, what it does, why it failed); for each rank two buffers that it exchanges data through.
// runner/collective/shared_collective.h has the protocol. Whoever reads trusts nothing: the header is copied
// once and checked, words are compared with what is possible, data is never an index.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/lane/sealed_memory.h"

namespace deepserve::ipc {

inline constexpr uint64_t kGroupMagic = 0x3150'5247'5653'5044;  // "DPSVGRP1" in memory
inline constexpr uint16_t kGroupAbiMajor = 1;                   // another one is refused
inline constexpr uint16_t kGroupAbiMinor = 1;                   // information
inline constexpr uint32_t kRanksMax = 64;
inline constexpr uint32_t kGpuRanksMax = 16;           // of those that compute on GPUs: a host has no more
inline constexpr size_t kGroupSeparation_bytes = 128;  // the adjacent-line prefetcher fetches lines in pairs

// Where a rank finds the memory of its group, where it has one (dsd's spawn puts it there).
inline constexpr int kRankGroupFd = 8;

struct GroupShape {
  uint32_t ranks = 2;                 // from 2 to kRanksMax
  uint32_t buffer_bytes = 256 << 10;  // a power of two from 4096 to 2^28: the most that goes over at a time
  uint64_t generation = 1;            // numbers the groups of one share, so that none meets another's ranks
};

// What never changes after creation; the header's checksum covers all of it.
struct GroupFacts {
  uint64_t magic = kGroupMagic;
  uint16_t abi_major = kGroupAbiMajor;
  uint16_t abi_minor = kGroupAbiMinor;
  uint32_t ranks = 0;
  uint32_t buffer_bytes = 0;
  uint32_t reserved = 0;
  uint64_t generation = 0;
  uint64_t total_bytes = 0;
};
static_assert(sizeof(GroupFacts) == 40, "the checksum must not cover padding");

struct GroupHeader {
  GroupFacts facts;
  uint32_t checksum = 0;  // CRC-32C of facts
  uint32_t reserved = 0;
};

// A failure's text, cut to fit and ended by a zero.
inline constexpr size_t kFailureText_bytes = 240;

// One rank's words; stored by this rank alone, but for `sleepers`.
struct alignas(kGroupSeparation_bytes) RankWords {
  // Rounds entered so far, wrapping; a futex. Stored (seq_cst) once the data of the round and `operations`
  // are in place; loaded (acquire) by the others before they read those. Its sequential consistency with
  // `sleepers` lets no wake-up be lost.
  std::atomic<uint32_t> entered{0};
  // How many wait on `entered`: added to by them (seq_cst) before they look again and sleep. One that is
  // killed leaves its count behind, which costs its peer a system call a round and nothing else.
  std::atomic<uint32_t> sleepers{0};
  // What this rank does in a round, at the round's parity; relaxed, `entered` publishes it.
  std::array<std::atomic<uint64_t>, 2> operations{};
  // 0 until the rank has joined; then its process. Stored with release, loaded with acquire.
  std::atomic<uint32_t> pid{0};
  // Why it gives up: state 0 none, 1 being written, 2 written (release, acquire).
  alignas(kGroupSeparation_bytes) std::atomic<uint32_t> failure_state{0};
  std::atomic<uint32_t> failure_code{0};
  std::array<std::atomic<uint64_t>, kFailureText_bytes / 8> failure_text{};
  std::atomic<int32_t> failure_device_error{0};  // since 1.1
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
static_assert(sizeof(RankWords) % kGroupSeparation_bytes == 0);

// A new group's memory, laid out and sealed. kInvalidRequest naming what the shape has wrong.
Result<Fd> create_group_memory(const GroupShape& shape);

// A mapped and checked group. The mapping lives as long as this; the descriptor is not kept.
class GroupMemory {
 public:
  // Seals, size and header are checked; `generation_expected` 0 takes any. kBadLane naming what differs. It
  // may be shared: by dsd with nobody, by the threads of a test that are ranks.
  static Result<std::shared_ptr<GroupMemory>> map(const Fd& memfd, uint64_t generation_expected);

  const GroupFacts& facts() const { return facts_; }  // this process's own copy
  RankWords& words(uint32_t rank) const;
  // [buffer_bytes] of `rank`, for rounds of this parity.
  std::span<std::byte> buffer(uint32_t rank, uint32_t parity) const;

  // Writes why `rank`, which is the caller, gives up; the first reason stays. Async-signal-safe.
  void record_failure(uint32_t rank, Code code, std::string_view text, int device_error = 0) const noexcept;
  // What `rank` wrote, made printable.
  std::optional<Error> failure(uint32_t rank) const;

 private:
  GroupMemory(MappedRegion region, const GroupFacts& facts) : region_(std::move(region)), facts_(facts) {}

  MappedRegion region_;
  GroupFacts facts_;
};

}  // namespace deepserve::ipc
