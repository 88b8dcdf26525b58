#include "runner/backend/cuda/device_weights.h"

#include <algorithm>
#include <cstring>

#include "ipc/base/check.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matrix_layout.h"
#include "runner/backend/cuda/staging.h"
#include "runner/backend/rope_table.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::Matrix;
using kernels::cuda::DeviceMatrix;
using kernels::cuda::format_for;
using kernels::cuda::kGateRows;
using kernels::cuda::kTileRows;
using kernels::cuda::MatrixFormat;

// Where the rows of a device matrix come from: one after the other, or tiles of two in turn.
struct MatrixSource {
  DeviceMatrix matrix;
  std::vector<const Matrix*> parts;
  bool interleaved = false;

  // The file's row for row `row`; a matrix of nullptr: zeros.
  std::pair<const Matrix*, size_t> row_of(size_t row) const {
    if (interleaved) {
      const size_t inside = row % kTileRows, from = row / kTileRows * kGateRows + inside % kGateRows;
      return {from < parts[0]->rows ? parts[inside / kGateRows] : nullptr, from};
    }
    size_t part = 0;
    for (; row >= parts[part]->rows; ++part) row -= parts[part]->rows;
    return {parts[part], row};
  }
};

struct BytesSource {
  uint8_t* to;
  std::vector<uint8_t> bytes;
};

// Gives every tensor its place, and remembers what goes there. Run twice: without memory it counts.
class Placement {
 public:
  Placement(const ModelConfig& config, const ModelWeights& weights, uint8_t* memory)
      : config_(config), weights_(weights), carver_(memory), has_memory_(memory != nullptr) {}

  void place(DeviceWeights& to) {
    to.embedding = matrix({&weights_.embedding});
    for (const LayerWeights& layer : weights_.layers) to.layers.push_back(place_layer(layer));
    to.output_norm = numbers<float>(weights_.output_norm);
    to.output = is_of_embedding() ? rows_of_embedding(to.embedding) : matrix({&weights_.output});
    to.rope_frequencies = numbers<double>(RopeTable(config_, weights_.rope_factors).frequencies());
  }
  uint64_t used_bytes() const { return carver_.used_bytes(); }
  const std::vector<MatrixSource>& matrices() const { return matrices_; }
  const std::vector<BytesSource>& vectors() const { return vectors_; }

 private:
  // Whether the output head is the embedding, or a rank's rows of it.
  bool is_of_embedding() const {
    const Matrix &whole = weights_.embedding, &part = weights_.output;
    const uint8_t* end = whole.data + whole.rows * whole.row_bytes;
    return part.data >= whole.data && part.data < end && part.type == whole.type;
  }

  DeviceMatrix rows_of_embedding(const DeviceMatrix& embedding) const {
    const Matrix &whole = weights_.embedding, &part = weights_.output;
    const size_t first = static_cast<size_t>(part.data - whole.data) / whole.row_bytes;
    DeviceMatrix rows = embedding;
    if (rows.data != nullptr) rows.data += first * rows.row_bytes;
    if (rows.scales != nullptr) rows.scales += first * rows.scale_row_bytes;
    rows.rows = static_cast<uint32_t>(part.rows);
    return rows;
  }

  DeviceMatrix matrix(std::vector<const Matrix*> parts, bool interleaved = false) {
    MatrixFormat format = format_for(*parts[0]);
    size_t rows = 0;
    for (const Matrix* part : parts) {
      rows += part->rows;
      if (format_for(*part) != format) format = MatrixFormat::kBf16;
    }
    if (interleaved) rows = (parts[0]->rows + kGateRows - 1) / kGateRows * kTileRows;
    MatrixSource source;
    source.matrix = kernels::cuda::shape_of(format, static_cast<uint32_t>(rows),
                                            static_cast<uint32_t>(parts[0]->columns));
    source.matrix.data = carver_.take<uint8_t>(data_bytes(source.matrix));
    source.matrix.scales = carver_.take<uint8_t>(scale_bytes(source.matrix));
    source.parts = std::move(parts);
    source.interleaved = interleaved;
    matrices_.push_back(source);
    return source.matrix;
  }

  template <typename T>
  const T* numbers(std::span<const T> values) {
    if (values.empty()) return nullptr;
    T* to = carver_.take<T>(values.size());
    if (has_memory_) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
      vectors_.push_back({reinterpret_cast<uint8_t*>(to), {bytes, bytes + values.size_bytes()}});
    }
    return to;
  }

  DeviceLayer place_layer(const LayerWeights& layer) {
    DeviceLayer placed;
    placed.attention_norm = numbers<float>(layer.attention_norm);
    place_query_key_value(layer, placed);
    placed.query_norm = numbers<float>(layer.query_norm);
    placed.key_norm = numbers<float>(layer.key_norm);
    placed.attention_output = matrix({&layer.attention_output});
    placed.attention_output_bias = numbers<float>(layer.attention_output_bias);
    placed.feed_forward_norm = numbers<float>(layer.feed_forward_norm);
    placed.gate_and_up = matrix({&layer.gate, &layer.up}, true);
    placed.gate_and_up_bias = numbers<float>(interleaved_bias(layer, placed.gate_and_up.rows));
    placed.down = matrix({&layer.down});
    placed.down_bias = numbers<float>(layer.down_bias);
    return placed;
  }

  void place_query_key_value(const LayerWeights& layer, DeviceLayer& placed) {
    const Matrix* const all[] = {&layer.query, &layer.key, &layer.value};
    uint32_t row = 0;
    for (size_t begin = 0, end = 0; begin < 3; begin = end) {
      std::vector<const Matrix*> joined;
      for (; end < 3 && format_for(*all[end]) == format_for(*all[begin]); ++end) {
        joined.push_back(all[end]);
      }
      placed.query_key_value.push_back({matrix(std::move(joined)), row});
      row += placed.query_key_value.back().matrix.rows;
    }
    std::vector<float> bias;
    for (const auto* part : {&layer.query_bias, &layer.key_bias, &layer.value_bias}) {
      bias.insert(bias.end(), part->begin(), part->end());
    }
    CHECK(bias.empty() || bias.size() == row);
    placed.query_key_value_bias = numbers<float>(bias);
  }

  static std::vector<float> interleaved_bias(const LayerWeights& layer, uint32_t rows) {
    if (layer.gate_bias.empty() && layer.up_bias.empty()) return {};
    std::vector<float> bias(rows);
    for (size_t i = 0; i < layer.gate.rows; ++i) {
      const size_t at = i / kGateRows * kTileRows + i % kGateRows;
      if (!layer.gate_bias.empty()) bias[at] = layer.gate_bias[i];
      if (!layer.up_bias.empty()) bias[at + kGateRows] = layer.up_bias[i];
    }
    return bias;
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  Carver carver_;
  bool has_memory_;
  std::vector<MatrixSource> matrices_;
  std::vector<BytesSource> vectors_;
};

// Rows [begin, end) of a matrix: data, then scales, in the order of the device.
void lay_out_rows(const MatrixSource& source, size_t begin, size_t end, uint8_t* to,
                  kernels::ThreadPool& threads) {
  const DeviceMatrix& matrix = source.matrix;
  uint8_t* scales = to + (end - begin) * matrix.row_bytes;
  threads.parallel_for(end - begin, 16, [&](size_t first, size_t last) {
    std::vector<float> scratch(matrix.columns);
    for (size_t i = first; i < last; ++i) {
      const auto [from, row] = source.row_of(begin + i);
      uint8_t* data_row = to + i * matrix.row_bytes;
      uint8_t* scale_row = scales + i * matrix.scale_row_bytes;
      if (from == nullptr) {
        std::memset(data_row, 0, matrix.row_bytes);
        std::memset(scale_row, 0, matrix.scale_row_bytes);
        continue;
      }
      kernels::cuda::lay_out_row(matrix, *from, row, data_row, scale_row, scratch.data());
    }
  });
}

Result<void> upload_matrix(const MatrixSource& source, Staging& staging, kernels::ThreadPool& threads) {
  const DeviceMatrix& matrix = source.matrix;
  const size_t row_bytes = matrix.row_bytes + matrix.scale_row_bytes;
  const size_t rows_of_piece = std::max<size_t>(1, Staging::kPieceBytes / row_bytes);
  for (size_t begin = 0; begin < matrix.rows; begin += rows_of_piece) {
    const size_t end = std::min<size_t>(begin + rows_of_piece, matrix.rows), rows = end - begin;
    TRY_ASSIGN(uint8_t* const room, staging.room(rows * row_bytes));
    lay_out_rows(source, begin, end, room, threads);
    TRY(staging.send(0, rows * matrix.row_bytes,
                     const_cast<uint8_t*>(matrix.data) + begin * matrix.row_bytes));
    TRY(staging.send(rows * matrix.row_bytes, rows * matrix.scale_row_bytes,
                     const_cast<uint8_t*>(matrix.scales) + begin * matrix.scale_row_bytes));
    TRY(staging.next());
  }
  return {};
}

Result<void> upload_bytes(const BytesSource& source, Staging& staging) {
  for (size_t begin = 0; begin < source.bytes.size(); begin += Staging::kPieceBytes) {
    const size_t bytes = std::min<size_t>(Staging::kPieceBytes, source.bytes.size() - begin);
    TRY_ASSIGN(uint8_t* const room, staging.room(bytes));
    std::memcpy(room, source.bytes.data() + begin, bytes);
    TRY(staging.send(0, bytes, source.to + begin));
    TRY(staging.next());
  }
  return {};
}

}  // namespace

DeviceWeights plan_weights(const ModelConfig& config, const ModelWeights& weights) {
  DeviceWeights plan;
  Placement placement(config, weights, nullptr);
  placement.place(plan);
  plan.bytes = placement.used_bytes();
  return plan;
}

Result<DeviceWeights> upload_weights(const ModelConfig& config, const ModelWeights& weights,
                                     const UploadOptions& options) {
  DeviceWeights device;
  device.bytes = plan_weights(config, weights).bytes;
  TRY_ASSIGN(device.memory, DeviceMemory::make(device.bytes, "weights"));
  Placement placement(config, weights, device.memory.data());
  placement.place(device);
  TRY_ASSIGN(Staging staging, Staging::make());
  kernels::ThreadPool threads(options.threads);
  uint64_t bytes = 0;
  for (const MatrixSource& source : placement.matrices()) {
    TRY(upload_matrix(source, staging, threads));
    bytes += data_bytes(source.matrix) + scale_bytes(source.matrix);
    if (options.on_bytes) options.on_bytes(bytes);
  }
  for (const BytesSource& source : placement.vectors()) TRY(upload_bytes(source, staging));
  TRY(staging.finish());
  return device;
}

}  // namespace deepserve::runner::cuda
