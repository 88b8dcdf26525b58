// Matrices of F32, F16 and BF16 weights and paged attention on one thread, against this machine's limits: a
// plain read of as many bytes, and the most that FMAs on registers alone do. CPU time, the best of many
// passes, so that other load matters little.
//
//   float_bench [--isa NAME] [--parts N]      of the columns, each with a sum of its own
//
// Bars, with AVX-512: 85 % of the read bandwidth with one token, 75 % of the FMAs' peak with 512 tokens of
// F16.
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
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

constexpr size_t kWeightBytes = size_t{256} << 20;  // more than the caches hold

#if defined(__x86_64__)
// GFLOP/s of 512-bit FMAs on registers alone.
__attribute__((target("avx512f"))) double product_limit() {
  constexpr int kRounds = 200'000, kSums = 16;
  static volatile float sink;
  return 2.0 * 16 * kSums * kRounds / 1e9 /
         best_seconds(
             20, [&]() __attribute__((target("avx512f"))) {
               __m512 sums[kSums];
               for (__m512& sum : sums) sum = _mm512_set1_ps(1.0f);
               const __m512 half = _mm512_set1_ps(0.5f);
               for (int i = 0; i < kRounds; ++i) {
                 _Pragma("GCC unroll 16") for (int k = 0; k < kSums; ++k) sums[k] =
                     _mm512_fmadd_ps(sums[k], half, half);
               }
               for (const __m512& sum : sums) sink = sink + _mm512_cvtss_f32(sum);
             });
}
#else
double product_limit() {
  return 0;
}
#endif

struct Limits {
  double read;      // GB/s
  double products;  // GFLOP/s
};

void print(const char* what, double read, double products, const Limits& limits) {
  std::printf("%-34s %6.1f GB/s %3.0f %%  %6.1f GFLOP/s %3.0f %%", what, read, 100 * read / limits.read,
              products, 100 * products / limits.products);
}

void measure_matmul(const Kernels& kernels, WeightType type, size_t columns, size_t parts,
                    const uint8_t* memory, const Limits& limits) {
  const size_t row_bytes = weight_row_bytes(type, columns);
  for (const size_t tokens : {1, 2, 4, 8, 16, 32, 128, 512}) {
    const size_t bytes = tokens <= 32 ? kWeightBytes : kWeightBytes / 64;
    const size_t rows = bytes / row_bytes / 128 * 128;
    const std::vector<float> inputs(tokens * columns, 0.01f);
    std::vector<float> outputs(tokens * rows);
    MatmulArguments a;
    a.weights = {memory, type, rows, columns, row_bytes};
    a.row_end = rows;
    a.inputs = inputs.data();
    a.input_stride = columns;
    a.tokens = tokens;
    a.outputs = outputs.data();
    a.output_stride = rows;
    a.parts = deepserve::bench::even_parts(columns, parts);
    const double seconds = best_seconds(tokens <= 32 ? 5 : 10, [&] { kernels.matmul(a); });
    const double read = static_cast<double>(rows * row_bytes) / seconds / 1e9;
    const double products = 2.0 * static_cast<double>(rows * columns * tokens) / seconds / 1e9;
    const std::string name = std::string(weight_format(type).name) + " " + std::to_string(columns) +
                             " columns, " + std::to_string(tokens) + " tokens";
    print(name.c_str(), read, products, limits);
    if (tokens == 1) std::printf("  %s", read >= 0.85 * limits.read ? "PASS" : "FAIL");
    if (tokens == 512 && type == WeightType::kF16)
      std::printf("  %s", products >= 0.75 * limits.products ? "PASS" : "FAIL");
    std::printf("\n");
  }
}

// A KV head shared by 7 query heads of 64 dimensions.
void measure_attention(const Kernels& kernels, KvType type, size_t context, size_t tokens, uint8_t* memory,
                       const Limits& limits) {
  constexpr size_t kHeads = 7, kHeadDim = 64;
  const size_t keys = kv_key_bytes(type, kHeadDim), stride = keys + kv_value_bytes(type, kHeadDim);
  const size_t blocks = (context + kBlockTokens - 1) / kBlockTokens;
  std::vector<uint32_t> table(blocks);
  std::iota(table.begin(), table.end(), 0u);
  const std::vector<float> queries(tokens * kHeads * kHeadDim, 0.1f);
  std::vector<float> out(queries.size());
  AttentionArguments a;
  a.queries = queries.data();
  a.query_stride = a.out_stride = kHeads * kHeadDim;
  a.tokens = tokens;
  a.heads = kHeads;
  a.position = context - tokens;
  a.head_dim = kHeadDim;
  a.scale = 0.125f;
  a.kv_type = type;
  a.cache = memory;
  a.blocks = table.data();
  a.block_stride = stride;
  a.value_offset = keys;
  a.out = out.data();
  const double seconds = best_seconds(20, [&] { kernels.attention(a); });
  const std::string name = "attention " + std::string(kv_type_name(type)) + " " + std::to_string(tokens) +
                           " of " + std::to_string(context);
  print(name.c_str(), static_cast<double>(blocks * stride) / seconds / 1e9,
        4.0 * static_cast<double>(context * tokens * kHeads * kHeadDim) / seconds / 1e9, limits);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  std::string isa;
  size_t parts = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--isa") == 0) isa = argv[i + 1];
    if (std::strcmp(argv[i], "--parts") == 0) parts = std::strtoul(argv[i + 1], nullptr, 10);
  }
  const Kernels* kernels = parts - 1 < kColumnPartsMax ? find_kernels(isa) : nullptr;
  if (kernels == nullptr || argc == 2 || argc > 3) {
    std::fprintf(stderr, "float_bench [--isa NAME] [--parts 1-8]\n");
    return 2;
  }
  void* mapped = mmap(nullptr, kWeightBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return 1;
  auto* memory = static_cast<uint8_t*>(mapped);
  std::memset(memory, 0x2c, kWeightBytes);  // finite and small in every type
  const bool has_peak = std::string(kernels->isa) == "avx512";
  const Limits limits = {read_limit(memory, kWeightBytes), has_peak ? product_limit() : 0};
  std::printf("%s, one thread: reads %.1f GB/s, FMAs %.0f GFLOP/s\n", kernels->isa, limits.read,
              limits.products);
  for (const WeightType type : {WeightType::kF16, WeightType::kBF16, WeightType::kF32}) {
    for (const size_t columns : {896, 4864}) measure_matmul(*kernels, type, columns, parts, memory, limits);
  }
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8}) {
    for (const size_t tokens : {1, 9}) {
      for (const size_t context : {512, 4096, 32768})
        measure_attention(*kernels, type, context, tokens, memory, limits);
    }
  }
  return 0;
}
