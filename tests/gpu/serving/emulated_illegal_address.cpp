#include <cuda_runtime.h>

#include "tests/gpu/emulator/device.h"
#include "tests/gpu/serving/illegal_address.h"

namespace deepserve::runner {

void write_to_illegal_address() {
  emulator::DeviceOptions options = emulator::device();
  options.fault = cudaErrorIllegalAddress;
  options.fault_launches = 0;
  emulator::set_device(options);
}

}  // namespace deepserve::runner
