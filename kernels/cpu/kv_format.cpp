#include "kernels/cpu/kv_format.h"

#include <cstdint>

namespace deepserve::kernels {
namespace {

struct Format {
  std::string_view name;
  size_t element_bytes;
  size_t key_scale_bytes;    // of one position's kKeyScaleDims dimensions
  size_t value_scale_bytes;  // of one position
};
constexpr Format kFormats[] = {
    {"f32", 4, 0, 0}, {"f16", 2, 0, 0}, {"q8", 1, sizeof(uint16_t), sizeof(float)}};
static_assert(sizeof kFormats / sizeof kFormats[0] == static_cast<size_t>(KvType::kCount));

}  // namespace

std::string_view kv_type_name(KvType type) {
  return kFormats[static_cast<size_t>(type)].name;
}

bool kv_type_from_name(std::string_view name, KvType& type) {
  for (size_t i = 0; i < static_cast<size_t>(KvType::kCount); ++i) {
    if (kFormats[i].name != name) continue;
    type = static_cast<KvType>(i);
    return true;
  }
  return false;
}

size_t kv_key_bytes(KvType type, size_t head_dim) {
  const Format& format = kFormats[static_cast<size_t>(type)];
  const size_t scales = (head_dim + kKeyScaleDims - 1) / kKeyScaleDims;
  return kBlockTokens * (head_dim * format.element_bytes + scales * format.key_scale_bytes);
}

size_t kv_value_bytes(KvType type, size_t head_dim) {
  const Format& format = kFormats[static_cast<size_t>(type)];
  return kBlockTokens * (head_dim * format.element_bytes + format.value_scale_bytes);
}

}  // namespace deepserve::kernels
