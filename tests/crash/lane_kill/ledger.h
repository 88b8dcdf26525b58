// What outlives the killed processes: the consumer's account of what it handled, in memory that forks share.
//
// Messages are numbered from 0 and their bodies follow from the number, so that one number says all that is
// known: everything below `next` was accepted exactly once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace deepserve::crash {

inline constexpr size_t kBody_bytes_max = 20 * 1024;

// The body of message `number` (0 .. 20 KiB, mostly small); the lane's seed makes it another campaign.
void make_body(uint64_t seed, uint64_t number, std::vector<std::byte>& body);

// A consumer's process updates one word at a time, so that a SIGKILL leaves no account half-written.
struct Ledger {
  std::atomic<uint64_t> next{0};     // the first number that was not accepted
  std::atomic<uint64_t> repeats{0};  // numbers below `next` that came again, and were dropped
  std::atomic<uint64_t> torn{0};     // bodies that do not follow from their number
  std::atomic<uint64_t> lost{0};     // jumps beyond `next`
  std::atomic<uint64_t> disordered{
      0};                         // numbers that did not follow the one before in the same life of a consumer
  std::atomic<uint64_t> lies{0};  // drains that ended in kBadLane
  std::atomic<uint64_t> sleeps{0};             // waits of either side that reached the eventfd
  std::atomic<uint32_t> producer_attached{0};  // the life (counted from 1) that has attached
  std::atomic<uint32_t> consumer_attached{0};
};

// Books one message of this consumer's life. `previous` is the number before it in the same life (or none
// yet).
class Bookkeeper {
 public:
  Bookkeeper(Ledger& ledger, uint64_t seed) : ledger_(ledger), seed_(seed) {}
  void book(std::span<const std::byte> message);

 private:
  Ledger& ledger_;
  uint64_t seed_;
  bool has_previous_ = false;
  uint64_t previous_ = 0;
  std::vector<std::byte> expected_;
};

}  // namespace deepserve::crash
