// The backend that computes on an NVIDIA GPU.
#pragma once

#include <memory>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/backend/backend_model.h"
#include "runner/collective/nccl/nccl_group.h"

namespace deepserve::runner::cuda {

// Takes hold of the GPU and of the libraries that go with it, while the process may still open files and
// sockets: as options.allow_jit has it, and with the way to the other GPUs where options.collective is a
// group, which outlives the result. Then all ranks call it, and an error has been told to the others.
//
// kInvalidConfig: no GPU there, its driver too old, no machine code for it, two ranks with one GPU;
// kNotSupported: no NCCL for several ranks; kRunnerLost names the rank that died or did not come.
Result<std::shared_ptr<NcclGroup>> open_device(const BackendOptions& options);

// Takes the weights to the GPU and lets go of the files. kInvalidConfig says before anything is copied why
// the GPU cannot: none there, its driver too old, no machine code for it, too little memory, with the sizes
// of weights, KV cache and work. kNotSupported: a KV type other than f16.
// kDeviceFault, kOutOfMemory: what the GPU said.
//
// A step's kDeviceFault is as a rule the end of the process's context: it should end. So is any error of one
// rank of several, which the others have been told.
Result<std::unique_ptr<Backend>> make_cuda_backend(BackendModel model, const BackendOptions& options);

}  // namespace deepserve::runner::cuda
