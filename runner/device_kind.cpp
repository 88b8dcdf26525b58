#include "runner/device_kind.h"

#include "runner/backend/cpu_backend.h"
#ifdef DEEPSERVE_WITH_CUDA
#include "runner/backend/cuda/cuda_backend.h"
#include "runner/backend/cuda/driver_files.h"
#include "runner/backend/cuda/gpu_limits.h"
#endif

namespace deepserve::runner {
namespace {

Result<std::shared_ptr<NcclGroup>> open_cpu(const BackendOptions&) {
  return nullptr;
}

}  // namespace

Result<DeviceKind> device_kind(std::string_view name) {
  if (name == "cpu") return DeviceKind{make_cpu_backend, open_cpu, nullptr, nullptr, 512};
  if (name != "cuda") return fail(Code::kInvalidConfig, "kind = \"{}\": there is \"cpu\" and \"cuda\"", name);
#ifdef DEEPSERVE_WITH_CUDA
  return DeviceKind{cuda::make_cuda_backend, cuda::open_device, cuda::measure_gpu_limits, cuda::driver_files,
                    2048};
#else
  return fail(Code::kNotSupported, "kind = \"cuda\": this ds-runner was built without CUDA");
#endif
}

}  // namespace deepserve::runner
