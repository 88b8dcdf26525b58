// Norms, rotations and the feed-forward's activation with AVX-512; see Kernels for what they do.
#pragma once

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

void avx512_rms_norm(const float* x, const float* weight, float epsilon, size_t size, float* out);
void avx512_rope(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style);
void avx512_silu_multiply(float* gate, const float* up, size_t size);

}  // namespace deepserve::kernels
