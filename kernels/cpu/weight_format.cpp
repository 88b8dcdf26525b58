#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {
namespace {

constexpr WeightFormat kFormats[] = {
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},       {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},   {"Q5_0", 32, 22},   {"Q5_1", 32, 24},     {"Q8_0", 32, 34},
    {"IQ4_NL", 32, 18}, {"Q2_K", 256, 84},  {"Q3_K", 256, 110},   {"Q4_K", 256, 144},
    {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"IQ4_XS", 256, 136}, {"F8_E4M3", 1, 1},
};
static_assert(sizeof kFormats / sizeof kFormats[0] == static_cast<size_t>(WeightType::kCount));

}  // namespace

const WeightFormat& weight_format(WeightType type) {
  return kFormats[static_cast<size_t>(type)];
}

size_t weight_row_bytes(WeightType type, size_t elements) {
  const WeightFormat& format = weight_format(type);
  return elements / format.block_elements * format.block_bytes;
}

}  // namespace deepserve::kernels
