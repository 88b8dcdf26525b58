// Quantised matrices on one thread against this machine's limits, by weight format and number of tokens: the
// stream of weights beside a plain read of as many bytes, the products beside the most that the CPU's own
// instruction for them does. CPU time, the best of many passes, so that other load matters little.
//
//   kernel_bench [--isa NAME] [--columns N] [--mib N] [--parts N]
//       --mib: weights, more than the caches hold; --parts: of the columns, each with a sum of its own
//
// Bars, with AVX-512: 85 % of the read bandwidth with one token, 60 % of the products' peak with 16 and more.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "tests/bench/kernel/even_parts.h"
#include "tests/bench/kernel/one_thread.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using namespace deepserve::kernels;
using deepserve::bench::best_seconds;
using deepserve::bench::read_limit;

constexpr double kReadBar = 0.85, kProductBar = 0.60;
size_t kTokenCounts[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128, 512};

#if defined(__x86_64__)
// Gop/s (a product and its addition are two) of vpdpbusd on registers alone.
__attribute__((target("avx512f,avx512vnni"))) double product_limit() {
  constexpr int kRounds = 200'000;
  return 16 * kRounds * 128 / 1e9 /
         best_seconds(
             20, [&]() __attribute__((target("avx512f,avx512vnni"))) {
               __m512i a = _mm512_set1_epi8(3);
               for (int i = 0; i < kRounds; ++i) {
                 __asm__ volatile(
                     "vpdpbusd %0, %0, %%zmm0\n vpdpbusd %0, %0, %%zmm1\n vpdpbusd %0, %0, %%zmm2\n"
                     "vpdpbusd %0, %0, %%zmm3\n vpdpbusd %0, %0, %%zmm4\n vpdpbusd %0, %0, %%zmm5\n"
                     "vpdpbusd %0, %0, %%zmm6\n vpdpbusd %0, %0, %%zmm7\n vpdpbusd %0, %0, %%zmm8\n"
                     "vpdpbusd %0, %0, %%zmm9\n vpdpbusd %0, %0, %%zmm10\n vpdpbusd %0, %0, %%zmm11\n"
                     "vpdpbusd %0, %0, %%zmm12\n vpdpbusd %0, %0, %%zmm13\n vpdpbusd %0, %0, %%zmm14\n"
                     "vpdpbusd %0, %0, %%zmm15\n"
                     :
                     : "v"(a)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
               }
             });
}
#else
double product_limit() {
  return 0;
}
#endif

struct Limits {
  double read;      // GB/s
  double products;  // Gop/s
};

const char* verdict(double value, double bar) {
  return value >= bar ? "PASS" : "FAIL";
}

void measure(const Kernels& kernels, WeightType type, size_t columns, const ColumnParts& parts,
             uint8_t* memory, size_t size, const Limits& limits) {
  const size_t group_bytes = packed_group_bytes(type, columns), groups = size / group_bytes;
  for (const size_t tokens : kTokenCounts) {
    const size_t used = tokens <= 16 ? groups : std::max<size_t>(2, groups * 16 / tokens / 2 * 2);
    std::vector<float> values(tokens * columns);
    std::mt19937 random(1);
    for (float& value : values) value = static_cast<float>(random() % 1000) / 1000 - 0.5f;
    std::vector<InputBlock> inputs(tokens * input_blocks(columns));
    kernels.quantize_inputs(values.data(), values.size(), inputs.data());
    std::vector<float> outputs(tokens * used * 16);
    PackedMatmulArguments a;
    a.weights = {memory, type, used * 16, columns};
    a.group_end = used;
    a.inputs = inputs.data();
    a.tokens = tokens;
    a.outputs = outputs.data();
    a.output_stride = used * 16;
    a.parts = parts;
    const double seconds = best_seconds(10, [&] { kernels.packed_matmul(a); });
    const double read = static_cast<double>(used * group_bytes) / seconds / 1e9;
    const double products = 2.0 * static_cast<double>(used * 16 * columns * tokens) / seconds / 1e9;
    std::printf("%-5s %4zu tokens %6.1f GB/s %3.0f %%  %6.0f Gop/s %3.0f %%",
                std::string(weight_format(type).name).c_str(), tokens, read, 100 * read / limits.read,
                products, 100 * products / limits.products);
    if (tokens == 1) std::printf("  %s", verdict(read / limits.read, kReadBar));
    if (tokens >= 16) std::printf("  %s", verdict(products / limits.products, kProductBar));
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string isa;
  size_t columns = 1024, mib = 256, parts = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--isa") == 0) isa = argv[i + 1];
    if (std::strcmp(argv[i], "--columns") == 0) columns = std::strtoul(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--mib") == 0) mib = std::strtoul(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--parts") == 0) parts = std::strtoul(argv[i + 1], nullptr, 10);
  }
  const Kernels* kernels = find_kernels(isa);
  if (kernels == nullptr || columns == 0 || columns % 256 != 0 || mib == 0 || parts - 1 >= kColumnPartsMax) {
    std::fprintf(stderr, "kernel_bench [--isa NAME] [--columns multiple of 256] [--mib N] [--parts 1-8]\n");
    return 2;
  }
  const size_t size = mib << 20, huge = size_t{2} << 20;
  void* mapped =
      mmap(nullptr, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return 1;
  madvise(mapped, size + huge, MADV_HUGEPAGE);
  auto* memory = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapped) + huge - 1) / huge * huge);
  std::memset(memory, 0x11, size);  // codes and scales alike: finite and small
  const bool has_peak = std::string(kernels->isa) == "avx512";
  const Limits limits = {read_limit(memory, size), has_peak ? product_limit() : 0};
  std::printf("%s, %zu columns, one thread: reads %.1f GB/s, products %.0f Gop/s\n", kernels->isa, columns,
              limits.read, limits.products);
  for (const WeightType type : {WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4K, WeightType::kQ6K,
                                WeightType::kQ5K, WeightType::kQ4_1, WeightType::kQ5_0, WeightType::kQ5_1}) {
    measure(*kernels, type, columns, deepserve::bench::even_parts(columns, parts), memory, size, limits);
  }
  return 0;
}
