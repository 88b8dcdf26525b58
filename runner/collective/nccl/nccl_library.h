// libnccl.so.2, loaded when a model is spread over GPUs: ds-runner starts and serves without it.
#pragma once

#include <string>

#include "ipc/base/result.h"
#include "runner/collective/nccl/nccl_api.h"

namespace deepserve::runner {

// How NCCL is to find its peers, as far as the environment does not say it already: over the loopback
// interface alone, all at once when the communicator is made, and with no buffer of ours registered later,
// because the sandbox lets no socket be made. Before CUDA is first called, and before this process starts a
// thread.
void prepare_nccl_environment();

// The library of this process, opened at the first call, before the sandbox closes the file system.
// kNotSupported: there is none, it is too old or lacks a function; every later call says so again.
Result<const nccl::Functions*> load_nccl();

// "2.28.9" of 22809.
std::string nccl_version_text(int version);

}  // namespace deepserve::runner
