#ifdef DEEPSERVE_X86
#include <cpuid.h>
#endif

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

#ifdef DEEPSERVE_X86
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

namespace {
// Asked by number: clang's builtin does not know the name "f16c".
bool cpu_has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
bool cpu_has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
}
// As the compiler's flags for these files; the system saves the wide registers too, or the builtins say no.
bool cpu_has_avx512() {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
}  // namespace
#endif

const Kernels* find_kernels(std::string_view isa) {
#ifdef DEEPSERVE_X86
  if ((isa.empty() || isa == "avx512") && cpu_has_avx512()) return &avx512_kernels();
  if ((isa.empty() || isa == "avx2") && cpu_has_avx2()) return &avx2_kernels();
#endif
  if (isa.empty() || isa == "scalar") return &scalar_kernels();
  return nullptr;
}

}  // namespace deepserve::kernels
