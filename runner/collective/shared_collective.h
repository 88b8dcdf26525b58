// The Collective over one memory that the ranks share (ipc/rank_group/group_memory.h).
//
// Work goes in rounds. A rank enters a round by putting its data into its own buffer of the round's parity,
// noting what it does, and storing the round's number; the others read once they see that number. No rank
// enters round k+1 before all have entered round k: then nobody reads the other parity's buffers any more,
// and two buffers a rank suffice.
//
// all_reduce_sum of a few values is one round: each rank adds all ranks' values itself. Of many it is two:
// each rank adds its slice, then each reads all slices. Both add by the same tree of ranks, so their bits are
// the same. What is larger than a buffer goes in pieces.
//
// Who waits spins for some tens of microseconds, then sleeps on the other's number (futex), and looks every
// few milliseconds whether all still live.
#pragma once

#include <memory>
#include <optional>

#include "ipc/base/clock.h"
#include "runner/collective/collective.h"
#include "runner/collective/peer_watch.h"

namespace deepserve::runner {

struct JoinOptions {
  uint32_t rank = 0;
  uint64_t patience_ns = 8 * kSecond_ns;  // of Patience::kStep: less than what dsd takes for a hang
  uint64_t join_ns = 10 * kSecond_ns;     // for all to join; they are started together
  uint64_t spin_ns = 50 * kMicrosecond_ns;
};

class SharedCollective final : public Collective {
 public:
  // Waits for all ranks to join. `memory` may be shared with other ranks where they are threads (tests).
  static Result<std::unique_ptr<SharedCollective>> join(std::shared_ptr<ipc::GroupMemory> memory,
                                                        const JoinOptions& options);

  uint32_t rank() const override { return options_.rank; }
  uint32_t size() const override { return static_cast<uint32_t>(words_.size()); }
  Result<void> all_reduce_sum(std::span<float> values) override;
  Result<void> all_gather(std::span<const float> mine, std::span<const size_t> counts,
                          std::span<float> all) override;
  Result<void> broadcast(std::span<std::byte> bytes, uint32_t root, Patience patience) override;
  Result<void> barrier(Patience patience) override;
  Result<void> barrier_within(uint64_t limit_ns) override;
  Result<void> all_live() override;
  void abandon(const Error& error) override;

 private:
  SharedCollective(std::shared_ptr<ipc::GroupMemory> memory, PeerWatch peers, const JoinOptions& options);

  Result<void> begin_round();
  void enter_round(uint64_t operation);
  Result<void> await(uint32_t peer, Patience patience);
  Result<void> await_all(Patience patience = Patience::kStep);
  Result<void> await_number(uint32_t peer, Patience patience);
  Result<void> sleep_until_entered(uint32_t peer, Patience patience);
  bool has_entered(uint32_t number) const { return static_cast<int32_t>(number - round_) >= 0; }
  Result<void> check_number(uint32_t peer, uint32_t number);
  Result<void> check_operation(uint32_t peer);
  Result<void> reduce_piece(std::span<float> values);
  void add_values(size_t begin, size_t end, float* sums) const;
  void add_ranks(uint32_t first, uint32_t end, size_t begin, size_t count, float* sums) const;
  Result<void> gather_piece(std::span<const float> mine, std::span<const size_t> counts, size_t offset,
                            uint64_t operation, std::span<float> all);
  tl::unexpected<Error> end_group(Error error);
  Result<void> still_whole() const;

  float* floats(uint32_t rank) const { return buffers_[rank * 2 + (round_ & 1)]; }
  std::byte* bytes(uint32_t rank) const { return reinterpret_cast<std::byte*>(floats(rank)); }

  std::shared_ptr<ipc::GroupMemory> memory_;
  PeerWatch peers_;
  JoinOptions options_;
  size_t buffer_bytes_;
  std::vector<ipc::RankWords*> words_;  // [ranks]
  std::vector<float*> buffers_;         // [ranks, 2]
  uint32_t round_ = 0;                  // the one entered last
  uint64_t operation_ = 0;              // of that round
  std::optional<Error> ended_;          // the group is over: why
};

}  // namespace deepserve::runner
