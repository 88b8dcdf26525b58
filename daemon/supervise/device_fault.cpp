#include "daemon/supervise/device_fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using A = DeviceAction;
constexpr Blame kTheRequests = Blame::kRunner;
constexpr Blame kNoRequest = Blame::kNobody;

// In ascending order; "sticky" errors leave a context in which every later call fails. Under MPS those of a
// kernel's doing reach all clients of the GPU's server, which takes no new client before the last one is
// gone: it is recycled at once.
constexpr std::array kCudaFaults = {
    // cudaErrorMemoryAllocation. Not sticky: the runner fails the request and goes on; if it ended, what it
    // was asked for last was too much.
    CudaFault{2, 2, A::kFailRequest, A::kFailRequest, kTheRequests, "out of device memory"},
    // cudaErrorInsufficientDriver: the driver is older than the runtime.
    CudaFault{35, 35, A::kGiveUp, A::kGiveUp, kNoRequest, "the driver is too old"},
    // cudaErrorDevicesUnavailable: exclusive mode, or clean-up after a client that was killed.
    CudaFault{46, 46, A::kRestartRunner, A::kRestartRunner, kNoRequest, "the device is busy or unavailable"},
    // cudaErrorNoDevice, cudaErrorInvalidDevice.
    CudaFault{100, 101, A::kGiveUp, A::kGiveUp, kNoRequest, "there is no such device"},
    // cudaErrorNoKernelImageForDevice: this build has no code for that GPU.
    CudaFault{209, 209, A::kGiveUp, A::kGiveUp, kNoRequest, "no kernels for this GPU"},
    // cudaErrorECCUncorrectable. The Xid catalogue wants a reset of the GPU, which is an operator's to do.
    CudaFault{214, 214, A::kDrainGpu, A::kDrainGpu, kNoRequest, "uncorrectable ECC error"},
    // cudaErrorNvlinkUncorrectable.
    CudaFault{220, 220, A::kDrainGpu, A::kDrainGpu, kNoRequest, "uncorrectable NVLink error"},
    // cudaErrorContained: an error of the memory that hit this context alone; its page is retired.
    CudaFault{226, 226, A::kRestartRunner, A::kRestartRunner, kNoRequest, "contained memory error"},
    // cudaErrorIllegalAddress. Sticky, as the following up to 719.
    CudaFault{700, 700, A::kRestartRunner, A::kRecycleMps, kTheRequests, "illegal address"},
    // cudaErrorLaunchTimeout: a watchdog of the display driver.
    CudaFault{702, 702, A::kRestartRunner, A::kRecycleMps, kTheRequests, "a kernel ran too long"},
    // cudaErrorAssert.
    CudaFault{710, 710, A::kRestartRunner, A::kRecycleMps, kTheRequests, "a device assertion failed"},
    // cudaErrorHardwareStackError, cudaErrorIllegalInstruction, cudaErrorMisalignedAddress,
    // cudaErrorInvalidAddressSpace, cudaErrorInvalidPc.
    CudaFault{714, 718, A::kRestartRunner, A::kRecycleMps, kTheRequests, "a kernel went astray"},
    // cudaErrorLaunchFailure: an exception on the device. Under MPS also what the other clients see of one's
    // fatal fault.
    CudaFault{719, 719, A::kRestartRunner, A::kRecycleMps, kTheRequests, "launch failure"},
    // cudaErrorSystemNotReady: the fabric manager of NVLink switches is not up yet.
    CudaFault{802, 802, A::kRestartRunner, A::kRestartRunner, kNoRequest, "the GPUs' fabric is not ready"},
    // cudaErrorSystemDriverMismatch, cudaErrorCompatNotSupportedOnDevice.
    CudaFault{803, 804, A::kGiveUp, A::kGiveUp, kNoRequest, "driver and CUDA libraries do not go together"},
    // cudaErrorMpsConnectionFailed, cudaErrorMpsRpcFailure, cudaErrorMpsServerNotReady: the daemon's, or its
    // server recovers from a neighbour's fault.
    CudaFault{805, 807, A::kRecycleMps, A::kRecycleMps, kNoRequest, "MPS has failed"},
    // cudaErrorMpsMaxClientsReached, cudaErrorMpsMaxConnectionsReached: one client too many, and the others
    // work.
    CudaFault{808, 809, A::kRestartRunner, A::kRestartRunner, kNoRequest, "MPS takes no more clients"},
    // cudaErrorMpsClientTerminated: by us or by an operator.
    CudaFault{810, 810, A::kRecycleMps, A::kRecycleMps, kNoRequest, "MPS has terminated the client"},
    // Anything else.
    CudaFault{0, 0, A::kRestartRunner, A::kRestartRunner, kTheRequests, "unexpected"},
};

constexpr bool are_ascending_ranges(std::span<const CudaFault> rows) {
  for (size_t i = 0; i + 1 < rows.size(); ++i) {
    if (rows[i].first > rows[i].last || rows[i].first <= 0) return false;
    if (i > 0 && rows[i - 1].last >= rows[i].first) return false;
  }
  return rows.back().first == 0 && rows.back().last == 0;
}
static_assert(are_ascending_ranges(kCudaFaults));

// In ascending order. The driver does not say whose doing a fault of one context was: what is to be done for
// a runner is heard from the runner, which gets a CUDA error for it.
constexpr std::array kXidFaults = {
    // RESTART_APP: an exception in a kernel. The client reports 700, 715 or 719.
    XidFault{13, A::kNote, "graphics engine exception"},
    // RESTART_APP: an access outside what is mapped. The client reports 700.
    XidFault{31, A::kNote, "GPU memory page fault"},
    // IGNORE: a channel was reset after an application's error.
    XidFault{43, A::kNote, "GPU stopped processing"},
    // IGNORE: channels of a process that ended, or of one that another's error took along.
    XidFault{45, A::kNote, "preemptive clean-up"},
    // RESET_GPU: a timeout of the GPU.
    XidFault{46, A::kDrainGpu, "GPU stopped responding"},
    // RESET_GPU: double bit error. CUDA says 214.
    XidFault{48, A::kDrainGpu, "double bit ECC error"},
    // RESET_GPU: the power management unit halted.
    XidFault{62, A::kDrainGpu, "internal micro-controller halt"},
    // IGNORE: a row is remapped at the next reset; until then nothing is wrong.
    XidFault{63, A::kNote, "row remapping recorded"},
    // RESET_GPU: the remapping could not be recorded.
    XidFault{64, A::kDrainGpu, "row remapping failed"},
    // CONTACT_SUPPORT, with a workflow for NVLink: the links of that GPU are not to be trusted.
    XidFault{74, A::kDrainGpu, "NVLink error"},
    // RESTART_BM: the host must be restarted.
    XidFault{79, A::kDrainGpu, "the GPU has fallen off the bus"},
    // IGNORE: many single bit errors, all corrected.
    XidFault{92, A::kNote, "high rate of single bit ECC errors"},
    // RESTART_APP: the error is contained in one context. CUDA says 226 or 214.
    XidFault{94, A::kNote, "contained memory error"},
    // RESET_GPU: all contexts of the GPU are hit.
    XidFault{95, A::kDrainGpu, "uncontained memory error"},
    // RESET_GPU: a context switch took too long.
    XidFault{109, A::kDrainGpu, "context switch timeout"},
    // RESET_GPU: the GPU's own processor does not answer, or failed.
    XidFault{119, A::kDrainGpu, "GSP timeout"},
    XidFault{120, A::kDrainGpu, "GSP error"},
    // RESET_GPU: memory errors that could not be recovered from.
    XidFault{140, A::kDrainGpu, "unrecovered ECC error"},
    // Anything else.
    XidFault{0, A::kNote, "see NVIDIA's Xid catalogue"},
};

constexpr bool are_ascending(std::span<const XidFault> rows) {
  for (size_t i = 0; i + 2 < rows.size(); ++i) {
    if (rows[i].xid == 0 || rows[i].xid >= rows[i + 1].xid) return false;
  }
  return rows.back().xid == 0;
}
static_assert(are_ascending(kXidFaults));

}  // namespace

std::string_view device_action_name(DeviceAction action) {
  constexpr std::array<std::string_view, static_cast<size_t>(A::kCount)> kNames = {
      "note", "fail request", "restart runner", "recycle MPS", "drain GPU", "give up"};
  return kNames.at(static_cast<size_t>(action));
}

const CudaFault& cuda_fault(int number) {
  const auto found = std::find_if(kCudaFaults.begin(), kCudaFaults.end() - 1, [number](const auto& row) {
    return row.first <= number && number <= row.last;
  });
  return *found;
}

const XidFault& xid_fault(uint32_t xid) {
  return *std::find_if(kXidFaults.begin(), kXidFaults.end() - 1,
                       [xid](const auto& row) { return row.xid == xid; });
}

std::span<const CudaFault> cuda_faults() {
  return kCudaFaults;
}

std::span<const XidFault> xid_faults() {
  return kXidFaults;
}

std::string cuda_fault_text(int number) {
  return fmt::format("CUDA error {} ({})", number, cuda_fault(number).name);
}

std::string xid_fault_text(uint32_t xid) {
  return fmt::format("Xid {} ({})", xid, xid_fault(xid).name);
}

}  // namespace deepserve::daemon
