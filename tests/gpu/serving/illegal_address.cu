#include "tests/gpu/serving/illegal_address.h"

namespace deepserve::runner {
namespace {

__global__ void write_kernel(unsigned* address) {
  *address = 1;
}

}  // namespace

void write_to_illegal_address() {
  write_kernel<<<1, 1>>>(reinterpret_cast<unsigned*>(16));
  (void)cudaDeviceSynchronize();  // the fault takes milliseconds; many steps would pass meanwhile
}

}  // namespace deepserve::runner
