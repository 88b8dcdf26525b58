// Keys and values of a range of positions on their way through shared memory: a ring of slots, of which one
// is used while the others fill.
//
// For each step of 64 positions its keys come first, then its values, both in pieces of kPiece positions, one
// a slot. In a slot a position's row is padded by 16 bytes, so that eight rows at the same column lie in
// different banks.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

inline constexpr unsigned kAttentionStep = 64;
inline constexpr unsigned kAttentionBlock = 16;  // tokens of a block of the cache

// kDim: the head's size or more, columns beyond it are zeros. kThreads: share the ring; 32: a warp, else the
// whole block of threads.
template <unsigned kDim, unsigned kPiece, unsigned kSlots, unsigned kThreads>
class KvStream {
 public:
  static constexpr unsigned kPiecePositions = kPiece;
  static constexpr unsigned kPieces = kAttentionStep / kPiece;  // of a step's keys, and as many of its values
  static constexpr unsigned kRowBytes = kDim * 2 + 16;
  static constexpr unsigned kSlotBytes = kPiece * kRowBytes;
  static constexpr unsigned kBytes = kSlots * kSlotBytes;

  // Of positions [begin, end) of the sequence whose blocks begin at `table`; `begin` is a multiple of a step.
  // `ring`: kBytes of shared memory, which nobody uses any more. thread: below kThreads. All threads make it
  // and call next together.
  __device__ __forceinline__ KvStream(const AttentionArguments& arguments, const uint32_t* table,
                                      uint32_t kv_head, uint32_t begin, uint32_t end, uint8_t* ring,
                                      unsigned thread)
      : cache_(arguments.cache + arguments.layer_offset +
               size_t{kv_head} * kAttentionBlock * arguments.head_dim),
        values_offset_(arguments.kv_heads * kAttentionBlock * arguments.head_dim),
        block_stride_(arguments.block_stride),
        head_dim_(arguments.head_dim),
        table_(table),
        begin_(begin),
        end_(end),
        ring_(ring),
        thread_(thread),
        step_(begin) {
    for (unsigned i = 0; i + 1 < kSlots; ++i) issue();
  }

  // The next piece, [kPiece] rows of kRowBytes; it stays there until next() is called again. Pieces that
  // begin at `end` or behind it hold anything; positions from there on within a piece are zeros.
  __device__ __forceinline__ const uint8_t* next() {
    copies_wait<kSlots - 2>();
    if constexpr (kThreads == 32)
      __syncwarp();
    else
      __syncthreads();
    issue();
    const uint8_t* piece = ring_ + taken_ * kSlotBytes;
    taken_ = taken_ + 1 == kSlots ? 0 : taken_ + 1;
    return piece;
  }

 private:
  static constexpr unsigned kChunks = kDim / 8;  // of 16 bytes, in a row
  static constexpr unsigned kCopies = kPiece * kChunks / kThreads;
  static constexpr unsigned kIds = 32;  // blocks whose ids a warp holds, one a thread
  static_assert(kPiece * kChunks % kThreads == 0 && kPiece % kAttentionBlock == 0 && kSlots >= 2);

  __device__ __forceinline__ void issue() {
    const uint32_t ahead = step_ - begin_;
    if (piece_ == 0 && ahead % (kIds * kAttentionBlock) == 0) {
      const uint32_t block = step_ / kAttentionBlock + lane_index();
      id_ = block * kAttentionBlock < end_ ? table_[block] : 0;
    }
    const bool is_values = piece_ >= kPieces;
    const uint32_t inside = (is_values ? piece_ - kPieces : piece_) * kPiece;
    if (step_ + inside < end_) {
      copy((ahead + inside) / kAttentionBlock % kIds, step_ + inside, is_values ? values_offset_ : 0);
    }
    copies_commit();
    filled_ = filled_ + 1 == kSlots ? 0 : filled_ + 1;
    if (++piece_ == 2 * kPieces) {
      piece_ = 0;
      step_ += kAttentionStep;
    }
  }

  __device__ __forceinline__ void copy(unsigned first_id, uint32_t position, uint32_t offset) {
    uint8_t* slot = ring_ + filled_ * kSlotBytes;
    const uint32_t thread = forgotten(thread_), head_dim = forgotten(head_dim_);
    uint32_t id = shuffle(id_, first_id);
#pragma unroll(kCopies <= 8 ? 4 : 2)
    for (unsigned i = 0; i < kCopies; ++i) {
      const unsigned at = thread + kThreads * i;
      const unsigned row = at / kChunks, chunk = at % kChunks;
      if constexpr (kPiece > kAttentionBlock) id = shuffle(id_, first_id + row / kAttentionBlock);
      const uint16_t* from =
          cache_ + id * block_stride_ + (offset + row % kAttentionBlock * head_dim + chunk * 8);
      copy_async_16(slot + row * kRowBytes + chunk * 16, from, position + row < end_ && chunk * 8 < head_dim);
    }
  }

  const uint16_t* cache_;
  uint32_t values_offset_;
  size_t block_stride_;
  uint32_t head_dim_;
  const uint32_t* table_;
  uint32_t begin_, end_;
  uint8_t* ring_;
  unsigned thread_;
  uint32_t step_;       // of the next piece to be asked for,
  unsigned piece_ = 0;  // and which of its pieces that is
  uint32_t id_ = 0;
  unsigned filled_ = 0;  // the slots of the next piece to be asked for, and to be taken
  unsigned taken_ = 0;
};

}  // namespace deepserve::kernels::cuda
