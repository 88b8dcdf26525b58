#include "kernels/cpu/logits.h"

#include <algorithm>
#include <limits>

namespace deepserve::kernels {

const LogitsKernels& scalar_logits_kernels();
#ifdef DEEPSERVE_X86
const LogitsKernels& avx2_logits_kernels();
const LogitsKernels& avx512_logits_kernels();
#endif

const LogitsKernels* find_logits_kernels(std::string_view isa) {
#ifdef DEEPSERVE_X86
  if ((isa.empty() || isa == "avx512") && __builtin_cpu_supports("avx512f")) return &avx512_logits_kernels();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if ((isa.empty() || isa == "avx2") && has_avx2) return &avx2_logits_kernels();
#endif
  if (isa.empty() || isa == "scalar") return &scalar_logits_kernels();
  return nullptr;
}

void outline_logits(const LogitsKernels& kernels, const float* logits, size_t count, float scale,
                    float* largest, float* sums) {
  if (!kernels.find_largest(logits, count, largest)) {
    std::fill_n(largest, logits_chunks(count), std::numeric_limits<float>::infinity());
  } else if (scale != 0) {
    kernels.sum_exponentials(logits, count, largest, scale, sums);
  }
}

}  // namespace deepserve::kernels
