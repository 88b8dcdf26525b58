// What a fault of a GPU means for its runners: one table for the numbers that a runner reports (CUDA's), one
// for those that the driver reports (Xid). Data, pure (DESIGN 10).
//
// Sources of the numbers' meaning: cudaError_t in the CUDA Runtime API reference ("Data types used by CUDA
// Runtime", CUDA 13); NVIDIA's "Xid Catalog" (docs.nvidia.com/deploy/xid-errors), whose immediate action each
// row names; the "Multi-Process Service" guide for what a fault does to the other clients of one MPS server.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "daemon/dispatch/request_progress.h"

namespace deepserve::daemon {

// From the mildest to the hardest; each does what the ones before it do for the runner that reported it.
enum class DeviceAction : uint8_t {
  kNote,           // it is logged: another event, or the runner itself, says what is to be done
  kFailRequest,    // one of the requests asked for too much: they are tried one at a time, and the runner is
                   // restarted if it has ended
  kRestartRunner,  // its context is of no use any more: a new process
  kRecycleMps,     // all clients of that GPU's MPS daemon are hit or will be: it and they are restarted
  kDrainGpu,       // no new runner there until an operator says so (`dsctl runner reset`)
  kGiveUp,         // the host's set-up: the same would happen again; that runner fails until it is reset
  kCount
};
std::string_view device_action_name(DeviceAction action);

struct CudaFault {
  int first = 0;  // of a range of numbers
  int last = 0;
  DeviceAction action = DeviceAction::kRestartRunner;  // where the runner has its GPU alone
  DeviceAction shared = DeviceAction::kRestartRunner;  // where it shares it through MPS
  // Whether the requests of the last step may have caused it: else none of them is suspect.
  Blame blame = Blame::kRunner;
  std::string_view name;  // in words
};

struct XidFault {
  uint32_t xid = 0;
  DeviceAction action = DeviceAction::kNote;
  std::string_view name;
};

// Of a number that no row has: a restart, and the requests of the last step are suspects.
const CudaFault& cuda_fault(int number);
// Of a number that no row has: it is noted.
const XidFault& xid_fault(uint32_t xid);

// All rows, the one for other numbers last.
std::span<const CudaFault> cuda_faults();
std::span<const XidFault> xid_faults();

// "CUDA error 700 (illegal address)"
std::string cuda_fault_text(int number);
// "Xid 79 (the GPU has fallen off the bus)"
std::string xid_fault_text(uint32_t xid);

}  // namespace deepserve::daemon
