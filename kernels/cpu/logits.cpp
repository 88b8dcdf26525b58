#include "kernels/cpu/logits.h"

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

}  // namespace deepserve::kernels
