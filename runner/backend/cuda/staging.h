// The way of bytes from the host's memory to the GPU's: a ring of pinned pieces, each filled by the caller
// while the ones before it are under way.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

class Staging {
 public:
  static constexpr uint64_t kPieceBytes = uint64_t{8} << 20;
  static constexpr size_t kPieces = 4;

  static Result<Staging> make();

  // Memory for `bytes`, at most kPieceBytes; waits until a piece's last copy has left it.
  Result<uint8_t*> room(uint64_t bytes);
  // Sends `bytes` from `offset` of what room() gave last.
  Result<void> send(uint64_t offset, uint64_t bytes, void* to);
  // Ends the piece; room() gives the next one.
  Result<void> next();
  // Waits for all that was sent.
  Result<void> finish();

 private:
  Stream stream_;
  PinnedMemory memory_;
  std::vector<Event> left_;  // of each piece
  size_t piece_ = 0;
};

}  // namespace deepserve::runner::cuda
