#include "runner/backend/packed_weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <thread>
#include <utility>

#include "runner/model/mapped_file.h"

namespace deepserve::runner {
namespace {

using kernels::kRowsOfGroup;
using kernels::Matrix;
using kernels::PackedMatrix;

constexpr size_t kPieceBytes = 1u << 20;  // what one thread packs at a time
constexpr size_t kHugePageBytes =
    2u << 20;  // where the first matrix begins: as many as can be fit such pages

constexpr std::pair<Matrix LayerWeights::*, PackedMatrix PackedLayer::*> kMembers[] = {
    {&LayerWeights::query, &PackedLayer::query},
    {&LayerWeights::key, &PackedLayer::key},
    {&LayerWeights::value, &PackedLayer::value},
    {&LayerWeights::attention_output, &PackedLayer::attention_output},
    {&LayerWeights::gate, &PackedLayer::gate},
    {&LayerWeights::up, &PackedLayer::up},
    {&LayerWeights::down, &PackedLayer::down},
};

size_t packed_bytes_of(const Matrix& matrix) {
  return kernels::is_packable(matrix.type) ? kernels::packed_bytes(matrix.type, matrix.rows, matrix.columns)
                                           : 0;
}

// False for a rank's rows of the whole.
bool is_same(const Matrix& a, const Matrix& b) {
  return a.data == b.data && a.rows == b.rows;
}

// Rows [begin, end) as they lie in the file, with what lies between a shard's columns of them.
std::span<const uint8_t> bytes_of_rows(const Matrix& matrix, size_t begin, size_t end) {
  const size_t last_row = (end - 1 - begin) * matrix.row_bytes;
  return {matrix.data + begin * matrix.row_bytes,
          last_row + kernels::weight_row_bytes(matrix.type, matrix.columns)};
}

}  // namespace

Result<PackedWeights> PackedWeights::make(const ModelWeights& weights, bool packs,
                                          kernels::ThreadPool& threads,
                                          const std::function<void(uint64_t)>& on_packed) {
  PackedWeights packed;
  size_t size = packed_bytes_of(weights.output);
  for (const LayerWeights& layer : weights.layers) {
    for (const auto& [matrix, unused] : kMembers) size += packed_bytes_of(layer.*matrix);
  }
  packed.layers_.resize(weights.layers.size());
  if (size == 0 || !packs) return packed;
  packed.mapped_bytes_ = size + kHugePageBytes;
  void* address = mmap(nullptr, packed.mapped_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return fail(Code::kOutOfMemory, "no memory for {} bytes of packed weights", packed.mapped_bytes_);
  }
  madvise(address, packed.mapped_bytes_, MADV_HUGEPAGE);
  packed.data_ = static_cast<uint8_t*>(address);
  std::vector<Piece> pieces;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    for (const auto& [matrix, place] : kMembers) {
      packed.layers_[i].*place = packed.place(weights.layers[i].*matrix, pieces);
    }
  }
  packed.output_ = packed.place(weights.output, pieces);
  if (is_same(weights.output, weights.embedding)) packed.embedding_ = packed.output_;
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<uint64_t> bytes{0};
  threads.parallel_for(pieces.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      bytes += pack(pieces[i]);
      if (on_packed && std::this_thread::get_id() == caller) on_packed(bytes);
    }
  });
  if (on_packed) on_packed(bytes);
  return packed;
}

// Its packed bytes.
uint64_t PackedWeights::pack(const Piece& piece) {
  const Matrix& from = *piece.from;
  kernels::pack_row_groups(from, piece.group_begin, piece.group_end, piece.to);
  give_back(bytes_of_rows(from, piece.group_begin * kRowsOfGroup,
                          std::min(piece.group_end * kRowsOfGroup, from.rows)));
  return (piece.group_end - piece.group_begin) * kernels::packed_group_bytes(from.type, from.columns);
}

// The next place for `matrix`, and the pieces in which it is to be packed.
PackedMatrix PackedWeights::place(const Matrix& matrix, std::vector<Piece>& pieces) {
  if (!kernels::is_packable(matrix.type)) return {};
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data_) + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  auto* to = reinterpret_cast<uint8_t*>(begin) + size_bytes_;
  const size_t group_bytes = kernels::packed_group_bytes(matrix.type, matrix.columns);
  const size_t groups = kernels::row_groups(matrix.rows),
               step = std::max<size_t>(1, kPieceBytes / group_bytes);
  for (size_t group = 0; group < groups; group += step) {
    pieces.push_back({&matrix, group, std::min(group + step, groups), to});
  }
  size_bytes_ += groups * group_bytes;
  return {to, matrix.type, matrix.rows, matrix.columns};
}

PackedWeights::PackedWeights(PackedWeights&& other) noexcept
    : layers_(std::move(other.layers_)),
      output_(std::exchange(other.output_, {})),
      embedding_(std::exchange(other.embedding_, {})),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(other.size_bytes_),
      mapped_bytes_(other.mapped_bytes_) {}

PackedWeights::~PackedWeights() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
}

}  // namespace deepserve::runner
