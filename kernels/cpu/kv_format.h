// How the keys and values of one KV head lie inside one block of the paged KV cache.
//
// Keys are transposed, so that the scores of a block's positions are one vector: [head_dim][kBlockTokens].
// Values are not: [kBlockTokens][head_dim]. Both have elements of the cache's type. Behind the elements of
// kQ8 follow scales. Of values one for each position, float32 [kBlockTokens]; of keys one for each position
// and kKeyScaleDims dimensions, binary16 [head_dim / kKeyScaleDims, rounded up][kBlockTokens]: some models'
// keys have a few dimensions that are far larger than all others (the biases of Qwen2's), and under a scale
// of their own these are what the others lose by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace deepserve::kernels {

// Tokens per block of the paged KV cache.
inline constexpr size_t kBlockTokens = 16;

enum class KvType : uint8_t {
  kF32,
  kF16,  // IEEE 754 binary16, rounded to nearest even
  kQ8,   // int8 times its scale, max |x| / 127
  kCount
};

std::string_view kv_type_name(KvType type);  // "f32", "f16", "q8"
// False: there is no type of that name; `type` is left alone.
bool kv_type_from_name(std::string_view name, KvType& type);

// Bytes of the keys, and of the values, of one KV head in one block.
size_t kv_key_bytes(KvType type, size_t head_dim);
size_t kv_value_bytes(KvType type, size_t head_dim);

inline constexpr size_t kKeyScaleDims = 8;

// Numbers up to here are nothing to kQ8: 127 over less may be no number.
inline constexpr float kKvNothing = 1e-30f;

// Puts one position's key and value into a block. A number that is not finite stays not finite.
struct KvStoreArguments {
  KvType type = KvType::kF32;
  size_t head_dim = 0;
  size_t slot = 0;               // the position's place in the block, below kBlockTokens
  const float* key = nullptr;    // [head_dim], rotated
  const float* value = nullptr;  // [head_dim]
  uint8_t* keys = nullptr;       // of the block and KV head: kv_key_bytes, kv_value_bytes
  uint8_t* values = nullptr;
};

}  // namespace deepserve::kernels
