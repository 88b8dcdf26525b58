// The quantised matrices of a model in the order that the kernels want (kernels/cpu/packed_matrix.h), in
// memory of the process's own.
//
// Packed once, after the files were read and checked. What was packed is given back piece by piece, so that
// no more than a few MiB are in memory twice. Where the output head is the embedding, rows are looked up in
// the packed one; else the embedding stays in the file, and only what is looked up becomes resident.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

// As LayerWeights; a matrix of a format that is not packed has no data.
struct PackedLayer {
  kernels::PackedMatrix query, key, value, attention_output, gate, up, down;
};

class PackedWeights {
 public:
  // Nothing is packed unless `packs`. `on_packed`, which may be empty, is called by the caller's thread with
  // the bytes so far. kOutOfMemory, with the bytes, when there is no such memory.
  static Result<PackedWeights> make(const ModelWeights& weights, bool packs, kernels::ThreadPool& threads,
                                    const std::function<void(uint64_t bytes)>& on_packed);
  PackedWeights(PackedWeights&& other) noexcept;
  PackedWeights& operator=(PackedWeights&&) = delete;
  ~PackedWeights();

  const PackedLayer& layer(uint32_t index) const { return layers_[index]; }
  const kernels::PackedMatrix& output() const { return output_; }
  // All rows of the embedding; no data: they are looked up in the file.
  const kernels::PackedMatrix& embedding() const { return embedding_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  struct Piece {
    const kernels::Matrix* from;
    size_t group_begin, group_end;
    uint8_t* to;  // where the whole matrix begins
  };

  PackedWeights() = default;
  static uint64_t pack(const Piece& piece);
  kernels::PackedMatrix place(const kernels::Matrix& matrix, std::vector<Piece>& pieces);

  std::vector<PackedLayer> layers_;
  kernels::PackedMatrix output_, embedding_;
  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;  // of all matrices
  size_t mapped_bytes_ = 0;
};

}  // namespace deepserve::runner
