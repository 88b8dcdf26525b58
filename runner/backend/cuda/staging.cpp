#include "runner/backend/cuda/staging.h"

#include "ipc/base/check.h"

namespace deepserve::runner::cuda {

Result<Staging> Staging::make() {
  Staging staging;
  TRY_ASSIGN(staging.stream_, make_stream());
  TRY_ASSIGN(staging.memory_, PinnedMemory::make(kPieces * kPieceBytes));
  for (size_t i = 0; i < kPieces; ++i) {
    TRY_ASSIGN(Event event, make_event());
    staging.left_.push_back(std::move(event));
  }
  return staging;
}

Result<uint8_t*> Staging::room(uint64_t bytes) {
  CHECK(bytes <= kPieceBytes);
  TRY(checked(cudaEventSynchronize(left_[piece_].get()), "copying weights to the GPU"));
  return memory_.data() + piece_ * kPieceBytes;
}

Result<void> Staging::send(uint64_t offset, uint64_t bytes, void* to) {
  if (bytes == 0) return {};
  const uint8_t* from = memory_.data() + piece_ * kPieceBytes + offset;
  return checked(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()),
                 "copying weights to the GPU");
}

Result<void> Staging::next() {
  TRY(checked(cudaEventRecord(left_[piece_].get(), stream_.get()), "copying weights to the GPU"));
  piece_ = (piece_ + 1) % kPieces;
  return {};
}

Result<void> Staging::finish() {
  return checked(cudaStreamSynchronize(stream_.get()), "copying weights to the GPU");
}

}  // namespace deepserve::runner::cuda
