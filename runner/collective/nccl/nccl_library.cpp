#include "runner/collective/nccl/nccl_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace deepserve::runner {
namespace {

constexpr const char* kName = "libnccl.so.2";

template <typename Function>
void find(void* library, const char* name, Function& function, const char*& missing) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) missing = name;
}

Result<nccl::Functions> open_library() {
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);  // stays open as long as the process lives
  if (library == nullptr) {
    return fail(Code::kNotSupported, "tensor_parallel on GPUs needs NVIDIA's NCCL: {}", dlerror());
  }
  nccl::Functions functions;
  const char* missing = nullptr;
#define X(field, name, parameters) find(library, name, functions.field, missing);
  DEEPSERVE_NCCL_TABLE(X)
#undef X
  find(library, "ncclGetErrorString", functions.error_string, missing);
  find(library, "ncclGetLastError", functions.last_error, missing);
  if (missing != nullptr) return fail(Code::kNotSupported, "{} has no {}: it is too old", kName, missing);
  int version = 0;
  const nccl::Status status = functions.get_version(&version);
  if (status != nccl::Status::kSuccess) {
    return fail(Code::kNotSupported, "{} does not say which version it is: {}", kName,
                functions.error_string(status));
  }
  if (version < nccl::kVersionMin) {
    return fail(Code::kNotSupported, "{} is NCCL {}, at least {} is needed", kName,
                nccl_version_text(version), nccl_version_text(nccl::kVersionMin));
  }
  return functions;
}

}  // namespace

void prepare_nccl_environment() {
  // What an operator has set stays ("Environment Variables" of the NCCL user guide).
  setenv("NCCL_SOCKET_IFNAME", "=lo", 0);
  setenv("NCCL_RUNTIME_CONNECT", "0", 0);
  setenv("NCCL_GRAPH_REGISTER", "0", 0);
}

Result<const nccl::Functions*> load_nccl() {
  static const Result<nccl::Functions> functions = open_library();
  if (!functions) return tl::unexpected<Error>(functions.error());
  return &*functions;
}

std::string nccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10'000, version / 100 % 100, version % 100);
}

}  // namespace deepserve::runner
