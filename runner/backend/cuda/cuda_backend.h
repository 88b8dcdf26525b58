// The backend that computes on an NVIDIA GPU.
#pragma once

#include <memory>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/backend/backend_model.h"

namespace deepserve::runner::cuda {

// Takes hold of the GPU and of the libraries that go with it, while the process may still open files.
// `allow_jit`: as BackendOptions has it. kInvalidConfig: none there, its driver too old, or no machine code
// for it.
Result<void> open_device(bool allow_jit);

// Takes the weights to the GPU and lets go of the files. kInvalidConfig says before anything is copied why
// the GPU cannot: none there, its driver too old, no machine code for it, too little memory, with the sizes
// of weights, KV cache and work. kNotSupported: a KV type other than f16, or a model over several ranks.
// kDeviceFault, kOutOfMemory: what the GPU said.
//
// A step's kDeviceFault is as a rule the end of the process's context: it should end.
Result<std::unique_ptr<Backend>> make_cuda_backend(BackendModel model, const BackendOptions& options);

}  // namespace deepserve::runner::cuda
