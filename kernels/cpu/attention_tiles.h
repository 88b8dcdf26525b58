// Paged attention in the manner of flash attention, for any vector width: tiles of queries that share a KV
// head go over its blocks once. Source: Dao et al., FlashAttention (arXiv:2205.14135).
//
// Only for translation units of one instruction set; Vector, the set's operations, must have internal
// linkage, and with it all that is made from these templates has.
//
// The softmax of a query advances in steps of kStepTokens absolute positions. Per step: the scores, each one
// chain of FMAs over the head's dimensions; their maximum; what was summed before is scaled once; weights and
// values are added position by position. That order knows neither tile nor chunk, so that prefill and decode
// give the same bits. Positions beyond a query's context are left out, not multiplied by 0: blocks hold
// whatever their last owner left there.
#pragma once

#include "kernels/cpu/kernels.h"

#define UNROLLED _Pragma("GCC unroll 16")

namespace deepserve::kernels {

template <typename Vector>
class AttentionTiles {
  using V = typename Vector::Type;
  static constexpr size_t kLanes = Vector::kLanes;
  static constexpr size_t kRows = Vector::kTileRows;  // queries of one tile
  static constexpr size_t kVectors = 2;               // vectors of one tile's sums for each query
  static constexpr size_t kStepTokens = 64;
  static constexpr size_t kStepBlocks = kStepTokens / kBlockTokens;
  static constexpr size_t kStepVectors = kStepTokens / kLanes;
  static constexpr size_t kRowsMax = 64;  // queries that share one pass over the blocks

 public:
  static void run(const AttentionArguments& a) {
    const size_t rows = a.tokens * a.heads;
    for (size_t begin = 0; begin < rows; begin += kRowsMax) {
      const size_t count = rows - begin < kRowsMax ? rows - begin : kRowsMax;
      switch (a.kv_type) {
        case KvType::kF32:
          AttentionTiles(a, begin, count).template attend<KvType::kF32>();
          break;
        case KvType::kF16:
          AttentionTiles(a, begin, count).template attend<KvType::kF16>();
          break;
        default:
          AttentionTiles(a, begin, count).template attend<KvType::kQ8>();
          break;
      }
    }
  }

 private:
  // One query.
  struct Row {
    const float* query;
    float* out;
    size_t context;  // positions that it sees
    float maximum;
    float shrink;  // of what came before the current step
    alignas(64) float denominator[kLanes];
  };

  // The blocks of one step.
  struct Step {
    size_t begin;  // position
    const uint8_t* keys[kStepBlocks];
    const uint8_t* values[kStepBlocks];
  };

  AttentionTiles(const AttentionArguments& a, size_t begin, size_t count) : a_(a), count_(count) {
    for (size_t i = 0; i < count; ++i) {
      const size_t token = (begin + i) / a.heads, head = (begin + i) % a.heads;
      Row& row = rows_[i];
      row.query = a.queries + token * a.query_stride + head * a.head_dim;
      row.out = a.out + token * a.out_stride + head * a.head_dim;
      row.context = a.position + token + 1;
      row.maximum = -__builtin_inff();
      for (size_t d = 0; d < a.head_dim; ++d) row.out[d] = 0;
      for (float& lane : row.denominator) lane = 0;
    }
  }

  static constexpr size_t element_bytes(KvType type) {
    return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
  }

  // Contexts never shrink from one row to the next: the rows before `first` are done.
  template <KvType kType>
  void attend() {
    size_t first = 0;
    for (size_t begin = 0; first < count_; begin += kStepTokens) {
      while (first < count_ && rows_[first].context <= begin) ++first;
      if (first == count_) break;
      const Step step = step_at(begin);
      for (size_t row = first; row < count_;) {
        const size_t left = count_ - row;
        const size_t tiles = (left + kRows - 1) / kRows;
        const size_t count = (left + tiles - 1) / tiles;
        tile<kType>(step, rows_ + row, count);
        row += count;
      }
    }
    for (size_t i = 0; i < count_; ++i) {
      const float denominator = Vector::sum(Vector::load(rows_[i].denominator));
      for (size_t d = 0; d < a_.head_dim; ++d) rows_[i].out[d] /= denominator;
    }
  }

  // Blocks that no query sees are not in the table: the last one stands for them.
  Step step_at(size_t begin) const {
    Step step;
    step.begin = begin;
    const size_t last = (rows_[count_ - 1].context - 1) / kBlockTokens;
    for (size_t i = 0; i < kStepBlocks; ++i) {
      const size_t index = begin / kBlockTokens + i;
      const uint8_t* block = a_.cache + a_.blocks[index < last ? index : last] * a_.block_stride;
      step.keys[i] = block + a_.key_offset;
      step.values[i] = block + a_.value_offset;
    }
    return step;
  }

  template <KvType kType>
  void tile(const Step& step, Row* rows, size_t count) {
    switch (count) {
      case 1:
        return tile_of<kType, 1>(step, rows);
      case 2:
        return tile_of<kType, 2>(step, rows);
      case 3:
        return tile_of<kType, 3>(step, rows);
      case 4:
        return tile_of<kType, 4>(step, rows);
      default:
        break;
    }
    if constexpr (kRows > 4) {
      switch (count) {
        case 5:
          return tile_of<kType, 5>(step, rows);
        case 6:
          return tile_of<kType, 6>(step, rows);
        case 7:
          return tile_of<kType, 7>(step, rows);
        default:
          return tile_of<kType, 8>(step, rows);
      }
    }
  }

  template <KvType kType, size_t kCount>
  void tile_of(const Step& step, Row* rows) {
    alignas(64) float weights[kCount][kStepTokens];
    const size_t positions = smaller(rows[kCount - 1].context - step.begin, kStepTokens);
    for (size_t p = 0; p < positions; p += kVectors * kLanes) score<kType, kCount>(step, rows, p, weights);
    for (size_t r = 0; r < kCount; ++r) raise_maximum(step, rows[r], weights[r]);
    for (size_t r = 0; r < kCount; ++r) {
      weigh(rows[r], weights[r]);
      if constexpr (kType == KvType::kQ8) fold_scales(step.values, weights[r], positions);
    }
    // All rows see what the first one sees; the few positions behind that belong to later tokens.
    const size_t common = smaller(rows[0].context - step.begin, kStepTokens);
    add_values<kType, kCount, true>(step, rows, weights, 0, common);
    for (size_t r = 1; r < kCount; ++r) {
      const size_t end = smaller(rows[r].context - step.begin, kStepTokens);
      if (end > common) add_values<kType, 1, false>(step, rows + r, weights + r, common, end);
    }
  }

  static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

  // weights[r][p...] = scale * dot(query of row r, keys), for kVectors vectors of positions.
  template <KvType kType, size_t kCount>
  void score(const Step& step, const Row* rows, size_t p, float (*weights)[kStepTokens]) const {
    const size_t head_dim = a_.head_dim;
    const uint8_t* keys[kVectors];
    const uint8_t* scales[kVectors];  // of kQ8
    for (size_t v = 0; v < kVectors; ++v) {
      const size_t position = p + v * kLanes;
      const uint8_t* block = step.keys[position / kBlockTokens];
      keys[v] = block + position % kBlockTokens * element_bytes(kType);
      scales[v] = block + kBlockTokens * head_dim + position % kBlockTokens * sizeof(uint16_t);
    }
    const float* queries[kCount];
    V sums[kCount][kVectors];
    UNROLLED for (size_t r = 0; r < kCount; ++r) {
      queries[r] = rows[r].query;
      UNROLLED for (V& sum : sums[r]) sum = Vector::zero();
    }
    const size_t group = kType == KvType::kQ8 ? kKeyScaleDims : head_dim;
    for (size_t begin = 0; begin < head_dim; begin += group) {
      V scale[kVectors];
      if constexpr (kType == KvType::kQ8) {
        UNROLLED for (size_t v = 0; v < kVectors; ++v) {
          scale[v] = Vector::template load_element<KvType::kF16>(scales[v]);
          scales[v] += kBlockTokens * sizeof(uint16_t);
        }
      }
      const size_t end = smaller(begin + group, head_dim);
      for (size_t d = begin; d < end; ++d) {
        V key[kVectors];
        UNROLLED for (size_t v = 0; v < kVectors; ++v) {
          key[v] = Vector::template load_element<kType>(keys[v]);
          if constexpr (kType == KvType::kQ8) key[v] = Vector::multiply(key[v], scale[v]);
          keys[v] += kBlockTokens * element_bytes(kType);
        }
        UNROLLED for (size_t r = 0; r < kCount; ++r) {
          const V query = Vector::broadcast(queries[r][d]);
          UNROLLED for (size_t v = 0; v < kVectors; ++v) sums[r][v] = Vector::fma(query, key[v], sums[r][v]);
        }
      }
    }
    const V scale = Vector::broadcast(a_.scale);
    UNROLLED for (size_t v = 0; v < kVectors; ++v) {
      UNROLLED for (size_t r = 0; r < kCount; ++r)
          Vector::store(&weights[r][p + v * kLanes], Vector::multiply(sums[r][v], scale));
    }
  }

  // Scores beyond the row's context become minus infinity, and the row's maximum and `shrink` are renewed.
  static void raise_maximum(const Step& step, Row& row, float* scores) {
    const size_t seen = smaller(row.context - step.begin, kStepTokens);
    V largest = Vector::broadcast(-__builtin_inff());
    for (size_t i = 0; i < kStepVectors; ++i) {
      const size_t before = i * kLanes;
      const size_t lanes = seen <= before ? 0 : smaller(seen - before, kLanes);
      const V masked = Vector::load_or(scores + before, lanes, -__builtin_inff());
      Vector::store(scores + before, masked);
      largest = Vector::maximum(largest, masked);
    }
    const float maximum = Vector::largest(largest);
    const float raised = maximum > row.maximum ? maximum : row.maximum;
    row.shrink = Vector::first(Vector::exponential(Vector::broadcast(row.maximum - raised)));
    row.maximum = raised;
  }

  // Scores become weights e^(score - maximum), summed lane by lane.
  static void weigh(Row& row, float* scores) {
    const V maximum = Vector::broadcast(row.maximum);
    V sum = Vector::multiply(Vector::load(row.denominator), Vector::broadcast(row.shrink));
    for (size_t i = 0; i < kStepVectors; ++i) {
      const V weight = Vector::exponential(Vector::subtract(Vector::load(scores + i * kLanes), maximum));
      Vector::store(scores + i * kLanes, weight);
      sum = Vector::add(sum, weight);
    }
    Vector::store(row.denominator, sum);
  }

  // Weights times the scales of their positions' values.
  void fold_scales(const uint8_t* const* values, float* weights, size_t positions) const {
    for (size_t p = 0; p < positions; p += kLanes) {
      const uint8_t* scales = values[p / kBlockTokens] + kBlockTokens * a_.head_dim;
      const V scale = Vector::load_scales(scales, p % kBlockTokens);
      Vector::store(weights + p, Vector::multiply(Vector::load(weights + p), scale));
    }
  }

  // out[r] = out[r] * shrink (where kShrink) + sum over positions [begin, end) of the step of weight * value.
  template <KvType kType, size_t kCount, bool kShrink>
  void add_values(const Step& step, Row* rows, const float (*weights)[kStepTokens], size_t begin,
                  size_t end) const {
    size_t d = 0;
    for (; d + kVectors * kLanes <= a_.head_dim; d += kVectors * kLanes)
      add_columns<kType, kCount, kVectors, kShrink>(step, rows, weights, begin, end, d, kLanes);
    for (; d < a_.head_dim; d += kLanes) {
      const size_t lanes = smaller(kLanes, a_.head_dim - d);
      add_columns<kType, kCount, 1, kShrink>(step, rows, weights, begin, end, d, lanes);
    }
  }

  // Columns d, d + 1, ... of add_values: kWide vectors, of which the last has `lanes` lanes.
  template <KvType kType, size_t kCount, size_t kWide, bool kShrink>
  void add_columns(const Step& step, Row* rows, const float (*weights)[kStepTokens], size_t begin, size_t end,
                   size_t d, size_t lanes) const {
    V sums[kCount][kWide];
    UNROLLED for (size_t r = 0; r < kCount; ++r) {
      const V shrink = Vector::broadcast(rows[r].shrink);
      UNROLLED for (size_t v = 0; v < kWide; ++v) {
        sums[r][v] = Vector::load_or(rows[r].out + d + v * kLanes, v + 1 == kWide ? lanes : kLanes, 0);
        if constexpr (kShrink) sums[r][v] = Vector::multiply(sums[r][v], shrink);
      }
    }
    const size_t row_bytes = a_.head_dim * element_bytes(kType);
    for (size_t p = begin; p < end;) {
      const uint8_t* value =
          step.values[p / kBlockTokens] + p % kBlockTokens * row_bytes + d * element_bytes(kType);
      const size_t block_end = smaller(end, (p / kBlockTokens + 1) * kBlockTokens);
      for (; p < block_end; ++p, value += row_bytes) {
        V element[kWide];
        UNROLLED for (size_t v = 0; v < kWide; ++v) {
          const uint8_t* at = value + v * kLanes * element_bytes(kType);
          element[v] = kWide == 1 && lanes < kLanes ? Vector::template load_elements<kType>(at, lanes)
                                                    : Vector::template load_element<kType>(at);
        }
        UNROLLED for (size_t r = 0; r < kCount; ++r) {
          const V weight = Vector::broadcast(weights[r][p]);
          UNROLLED for (size_t v = 0; v < kWide; ++v) sums[r][v] =
              Vector::fma(weight, element[v], sums[r][v]);
        }
      }
    }
    UNROLLED for (size_t r = 0; r < kCount; ++r) {
      UNROLLED for (size_t v = 0; v < kWide; ++v)
          Vector::store_lanes(rows[r].out + d + v * kLanes, v + 1 == kWide ? lanes : kLanes, sums[r][v]);
    }
  }

  const AttentionArguments& a_;
  size_t count_;
  Row rows_[kRowsMax];
};

}  // namespace deepserve::kernels
