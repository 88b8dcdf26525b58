// The emulated GPU as a whole: what it is, and how it is made to fail. One per process.
//
// Tests in one process set it; for a process of its own (a ds-runner that is linked against the emulator) the
// environment says the same: DEEPSERVE_EMULATED_GPU="memory=64MiB seed=7 capability=90 driver=13000
// fault=700 fault_launches=100": the 100th launch and all calls after it fail with 700, as a context does
// after an illegal address.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::emulator {

struct DeviceOptions {
  uint64_t memory_bytes = uint64_t{2} << 30;
  uint64_t seed = 1;          // of the order in which blocks and threads run
  int capability = 90;        // major * 10 + minor
  bool takes_overlap = true;  // kernels that may overlap, where its capability is high enough
  int driver_version = 13000;
  int devices = 1;
  int fault = 0;                // a number of cudaError_t; 0: none
  uint64_t fault_launches = 0;  // so many kernels are launched before it
};

// Forgets errors. Memory that is in use stays.
void set_device(const DeviceOptions& options);
const DeviceOptions& device();
uint64_t schedule_seed();

uint64_t memory_in_use_bytes();
uint64_t launches();  // of kernels, those of graphs too
uint64_t graph_launches();

}  // namespace deepserve::emulator
