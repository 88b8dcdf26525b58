// Writing keys and values into the blocks of the KV cache, for any vector width; include rules as
// attention_tiles.h. The same bits as scalar_store_kv.
#pragma once

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

template <typename Vector>
class KvStore {
  using V = typename Vector::Type;
  static constexpr size_t kLanes = Vector::kLanes;

 public:
  static void run(const KvStoreArguments& a) {
    if (a.type == KvType::kQ8) return store_eight_bits(a);
    store_part(a, a.key, a.keys, a.slot, kBlockTokens);
    store_part(a, a.value, a.values, a.slot * a.head_dim, 1);
  }

 private:
  // Element i of `x` to index begin + i * step of `to`.
  static void store_part(const KvStoreArguments& a, const float* x, uint8_t* to, size_t begin, size_t step) {
    if (a.type == KvType::kF32) return spread(x, a.head_dim, reinterpret_cast<float*>(to) + begin, step);
    store_halves(x, a.head_dim, reinterpret_cast<uint16_t*>(to) + begin, step);
  }

  static void store_eight_bits(const KvStoreArguments& a) {
    uint8_t* scales = a.keys + kBlockTokens * a.head_dim + a.slot * sizeof(uint16_t);
    for (size_t d = 0; d < a.head_dim; d += kKeyScaleDims, scales += kBlockTokens * sizeof(uint16_t)) {
      const size_t count = a.head_dim - d < kKeyScaleDims ? a.head_dim - d : kKeyScaleDims;
      auto* to = reinterpret_cast<int8_t*>(a.keys) + d * kBlockTokens + a.slot;
      const float scale = store_levels(a.key + d, count, to, kBlockTokens);
      uint16_t halves[kLanes];
      Vector::to_halves(Vector::broadcast(scale), halves);
      __builtin_memcpy(scales, halves, sizeof halves[0]);
    }
    auto* to = reinterpret_cast<int8_t*>(a.values) + a.slot * a.head_dim;
    const float scale = store_levels(a.value, a.head_dim, to, 1);
    __builtin_memcpy(a.values + kBlockTokens * a.head_dim + a.slot * sizeof scale, &scale, sizeof scale);
  }

  template <typename Element>
  static void spread(const Element* from, size_t count, Element* to, size_t step) {
    for (size_t i = 0; i < count; ++i) to[i * step] = from[i];
  }

  static void store_halves(const float* x, size_t size, uint16_t* to, size_t step) {
    for (size_t i = 0; i < size; i += kLanes) {
      const size_t count = size - i < kLanes ? size - i : kLanes;
      uint16_t halves[kLanes];
      Vector::to_halves(Vector::load_or(x + i, count, 0), halves);
      spread(halves, count, to + i * step, step);
    }
  }

  // Returns the scale.
  static float store_levels(const float* x, size_t size, int8_t* to, size_t step) {
    V largest = Vector::zero();
    bool finite = true;
    for (size_t i = 0; i < size; i += kLanes) {
      const V v = Vector::absolute(Vector::load_or(x + i, size - i < kLanes ? size - i : kLanes, 0));
      finite = finite && Vector::all_finite(v);
      largest = Vector::maximum(largest, v);
    }
    const float magnitude = Vector::largest(largest);
    const V inverse = Vector::broadcast(finite && magnitude > kKvNothing ? 127.0f / magnitude : 0.0f);
    for (size_t i = 0; i < size; i += kLanes) {
      const size_t count = size - i < kLanes ? size - i : kLanes;
      int8_t levels[kLanes] = {};
      if (finite) Vector::to_levels(Vector::multiply(Vector::load_or(x + i, count, 0), inverse), levels);
      spread(levels, count, to + i * step, step);
    }
    return finite ? magnitude / 127.0f : __builtin_nanf("");
  }
};

}  // namespace deepserve::kernels
