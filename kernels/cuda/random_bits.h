// Numbers to time kernels with: on zeros a GPU is faster than it is.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace deepserve::kernels::cuda {

// out[i] = a bf16 between -1 and 1 that `seed` and i fix.
cudaError_t fill_random_bf16(uint16_t* out, uint64_t count, uint32_t seed, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
