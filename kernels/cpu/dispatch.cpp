#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

#ifdef DEEPSERVE_AVX2
const Kernels& avx2_kernels();

namespace {
bool cpu_has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
}  // namespace
#endif

const Kernels* find_kernels(std::string_view isa) {
#ifdef DEEPSERVE_AVX2
  if ((isa.empty() || isa == "avx2") && cpu_has_avx2()) return &avx2_kernels();
#endif
  if (isa.empty() || isa == "scalar") return &scalar_kernels();
  return nullptr;
}

}  // namespace deepserve::kernels
