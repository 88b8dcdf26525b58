// The kernels for CPUs with AVX-512 (F, BW, VL, DQ and VNNI). Includes no header with inline functions of
// external linkage (see avx2_math.h). What has no faster form here is AVX2's, with AVX2's bits.
#include "kernels/cpu/attention.h"
#include "kernels/cpu/avx512_elementwise.h"
#include "kernels/cpu/avx512_matmul.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/packed_matmul.h"

namespace deepserve::kernels {

const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

namespace {

Kernels make_table() {
  Kernels kernels = avx2_kernels();
  kernels.isa = "avx512";
  kernels.matmul = avx512_matmul;
  kernels.attention = avx512_attention;
  kernels.store_kv = avx512_store_kv;
  kernels.rms_norm = avx512_rms_norm;
  kernels.rope = avx512_rope;
  kernels.silu_multiply = avx512_silu_multiply;
  kernels.packed_matmul = avx512_packed_matmul;
  return kernels;
}

}  // namespace

const Kernels& avx512_kernels() {
  static const Kernels kernels = make_table();
  return kernels;
}

}  // namespace deepserve::kernels
