// The reference for attention and for what the KV cache holds: plain loops, one query at a time.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/float16.h"

namespace deepserve::kernels {
namespace {

// The keys or values of one block and head.
class Part {
 public:
  Part(KvType type, const uint8_t* data, size_t head_dim)
      : type_(type), data_(data), scales_(data + kBlockTokens * head_dim) {}

  float key(size_t d, size_t position) const {
    const size_t index = d * kBlockTokens + position;
    if (type_ != KvType::kQ8) return at(index, position);
    const size_t scale = d / kKeyScaleDims * kBlockTokens + position;
    return level(index) * half_to_float(load_u16(scales_ + scale * sizeof(uint16_t)));
  }
  float value(size_t d, size_t position, size_t head_dim) const {
    return at(position * head_dim + d, position);
  }

 private:
  float level(size_t index) const { return static_cast<float>(static_cast<int8_t>(data_[index])); }
  float at(size_t index, size_t position) const {
    switch (type_) {
      case KvType::kF32: {
        float value;
        std::memcpy(&value, data_ + index * sizeof value, sizeof value);
        return value;
      }
      case KvType::kF16:
        return half_to_float(load_u16(data_ + index * sizeof(uint16_t)));
      default: {
        float scale;
        std::memcpy(&scale, scales_ + position * sizeof scale, sizeof scale);
        return level(index) * scale;
      }
    }
  }

  KvType type_;
  const uint8_t* data_;
  const uint8_t* scales_;  // of kQ8
};

void attend(const AttentionArguments& a, const float* query, size_t context, float* out) {
  float maximum = -std::numeric_limits<float>::infinity();
  float denominator = 0;
  std::fill_n(out, a.head_dim, 0.0f);
  for (size_t begin = 0; begin < context; begin += kBlockTokens) {
    const uint8_t* block = a.cache + a.blocks[begin / kBlockTokens] * a.block_stride;
    const Part keys(a.kv_type, block + a.key_offset, a.head_dim);
    const Part values(a.kv_type, block + a.value_offset, a.head_dim);
    const size_t positions = std::min(kBlockTokens, context - begin);
    float scores[kBlockTokens];
    float new_maximum = maximum;
    for (size_t p = 0; p < positions; ++p) {
      float sum = 0;
      for (size_t d = 0; d < a.head_dim; ++d) sum += query[d] * keys.key(d, p);
      scores[p] = sum * a.scale;
      new_maximum = std::max(new_maximum, scores[p]);
    }
    const float shrink = std::exp(maximum - new_maximum);
    denominator *= shrink;
    for (size_t d = 0; d < a.head_dim; ++d) out[d] *= shrink;
    for (size_t p = 0; p < positions; ++p) {
      const float weight = std::exp(scores[p] - new_maximum);
      denominator += weight;
      for (size_t d = 0; d < a.head_dim; ++d) out[d] += weight * values.value(d, p, a.head_dim);
    }
    maximum = new_maximum;
  }
  for (size_t d = 0; d < a.head_dim; ++d) out[d] /= denominator;
}

// Element i of `x` to index i * step of `to`.
void store_part(const KvStoreArguments& a, const float* x, uint8_t* to, size_t begin, size_t step) {
  if (a.type == KvType::kF32) {
    for (size_t d = 0; d < a.head_dim; ++d) std::memcpy(to + (begin + d * step) * 4, x + d, 4);
    return;
  }
  for (size_t d = 0; d < a.head_dim; ++d) {
    const uint16_t half = float_to_half(x[d]);
    std::memcpy(to + (begin + d * step) * 2, &half, 2);
  }
}

// Returns the scale.
float store_levels(const float* x, size_t size, uint8_t* to, size_t step) {
  float largest = 0;
  bool finite = true;
  for (size_t d = 0; d < size; ++d) {
    finite = finite && std::isfinite(x[d]);
    largest = std::max(largest, std::abs(x[d]));
  }
  const float inverse = finite && largest > kKvNothing ? 127.0f / largest : 0.0f;
  for (size_t d = 0; d < size; ++d) {
    const float level = finite ? std::nearbyint(std::min(x[d] * inverse, 127.0f)) : 0.0f;
    to[d * step] = static_cast<uint8_t>(static_cast<int8_t>(std::max(level, -127.0f)));
  }
  return finite ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
}

void store_eight_bits(const KvStoreArguments& a) {
  const size_t scales = kBlockTokens * a.head_dim;
  for (size_t d = 0; d < a.head_dim; d += kKeyScaleDims) {
    const size_t size = std::min(kKeyScaleDims, a.head_dim - d);
    const uint16_t scale =
        float_to_half(store_levels(a.key + d, size, a.keys + d * kBlockTokens + a.slot, kBlockTokens));
    const size_t index = d / kKeyScaleDims * kBlockTokens + a.slot;
    std::memcpy(a.keys + scales + index * sizeof scale, &scale, sizeof scale);
  }
  const float scale = store_levels(a.value, a.head_dim, a.values + a.slot * a.head_dim, 1);
  std::memcpy(a.values + scales + a.slot * sizeof scale, &scale, sizeof scale);
}

}  // namespace

void scalar_attention(const AttentionArguments& a) {
  for (size_t t = 0; t < a.tokens; ++t) {
    for (size_t h = 0; h < a.heads; ++h) {
      attend(a, a.queries + t * a.query_stride + h * a.head_dim, a.position + t + 1,
             a.out + t * a.out_stride + h * a.head_dim);
    }
  }
}

void scalar_store_kv(const KvStoreArguments& a) {
  if (a.type == KvType::kQ8) return store_eight_bits(a);
  store_part(a, a.key, a.keys, a.slot, kBlockTokens);
  store_part(a, a.value, a.values, a.slot * a.head_dim, 1);
}

}  // namespace deepserve::kernels
