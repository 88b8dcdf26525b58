#include "runner/backend/expanded_weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "runner/model/mapped_file.h"

namespace deepserve::runner {
namespace {

using kernels::Matrix;
using kernels::WeightType;

constexpr size_t kAlignment = 64;
constexpr size_t kPieceRows = 64;  // what one thread expands at a time

size_t expanded_bytes(const Matrix& matrix) {
  const size_t bytes = matrix.rows * matrix.columns * sizeof(float);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Of 8-bit floats. An output head that is the embedding is expanded beside it: such files are not known.
std::vector<Matrix*> matrices_of(ModelWeights& weights) {
  std::vector<Matrix*> all = {&weights.embedding};
  for (LayerWeights& layer : weights.layers) {
    for (Matrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate,
                           &layer.up, &layer.down})
      all.push_back(matrix);
  }
  all.push_back(&weights.output);
  std::erase_if(all, [](const Matrix* matrix) { return matrix->type != WeightType::kF8E4M3; });
  return all;
}

struct Piece {
  const Matrix* from;
  size_t begin, end;  // rows
  uint8_t* to;        // where the whole matrix begins
};

uint64_t expand(const Piece& piece) {
  const size_t row_elements = piece.from->columns;
  for (size_t row = piece.begin; row < piece.end; ++row)
    kernels::dequantize_matrix_row(*piece.from, row, reinterpret_cast<float*>(piece.to) + row * row_elements);
  give_back({piece.from->data + piece.begin * piece.from->row_bytes,
             (piece.end - piece.begin - 1) * piece.from->row_bytes + row_elements});
  return (piece.end - piece.begin) * row_elements * sizeof(float);
}

}  // namespace

Result<ExpandedWeights> ExpandedWeights::make(ModelWeights& weights, kernels::ThreadPool& threads,
                                              const std::function<void(uint64_t)>& on_expanded) {
  ExpandedWeights expanded;
  const std::vector<Matrix*> matrices = matrices_of(weights);
  for (const Matrix* matrix : matrices) expanded.size_bytes_ += expanded_bytes(*matrix);
  if (matrices.empty()) return expanded;
  void* address = mmap(nullptr, expanded.size_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return fail(Code::kOutOfMemory, "no memory for {} bytes of 8-bit floats as float32",
                expanded.size_bytes_);
  }
  madvise(address, expanded.size_bytes_, MADV_HUGEPAGE);
  expanded.data_ = static_cast<uint8_t*>(address);
  std::vector<Piece> pieces;
  uint8_t* next = expanded.data_;
  for (const Matrix* matrix : matrices) {
    for (size_t row = 0; row < matrix->rows; row += kPieceRows)
      pieces.push_back({matrix, row, std::min(row + kPieceRows, matrix->rows), next});
    next += expanded_bytes(*matrix);
  }
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<uint64_t> bytes{0};
  threads.parallel_for(pieces.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      bytes += expand(pieces[i]);
      if (on_expanded && std::this_thread::get_id() == caller) on_expanded(bytes);
    }
  });
  if (on_expanded) on_expanded(bytes);
  next = expanded.data_;
  for (Matrix* matrix : matrices) {
    const size_t place_bytes = expanded_bytes(*matrix);
    *matrix = {next, WeightType::kF32, matrix->rows, matrix->columns, matrix->columns * sizeof(float)};
    next += place_bytes;
  }
  return expanded;
}

ExpandedWeights::ExpandedWeights(ExpandedWeights&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(other.size_bytes_) {}

ExpandedWeights::~ExpandedWeights() {
  if (data_ != nullptr) munmap(data_, size_bytes_);
}

}  // namespace deepserve::runner
