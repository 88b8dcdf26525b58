// The memory through which the ranks of a fake communicator exchange bytes: a channel from each rank to each
// other, that holds one piece at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace deepserve::fake_nccl {

inline constexpr int kRanksMax = 8;
inline constexpr size_t kPieceBytes = 64 << 10;

struct Channel {
  std::atomic<uint32_t> sent{0};   // pieces; stored (release) once `bytes` and `data` are there
  std::atomic<uint32_t> taken{0};  // the same of the other side
  uint32_t bytes = 0;
  alignas(64) uint8_t data[kPieceBytes];
};

struct Rank {
  std::atomic<uint32_t> has_joined{0};
  char device[128];  // what the process sees of GPUs
};

struct Memory {
  Rank ranks[kRanksMax];
  Channel channels[kRanksMax][kRanksMax];  // [from][to]
};

// A new memory's id, which any process of the same user can map() while this one lives.
void make_memory(char (&id)[128]);
Memory* map_memory(const char (&id)[128]);  // nullptr: it is gone

// Some bytes on their way, in pieces.
struct Transfer {
  Channel* channel;
  uint8_t* at;
  size_t bytes;
  bool sends;

  // As far as it goes now. True: it is done.
  bool go_on();
};

}  // namespace deepserve::fake_nccl
