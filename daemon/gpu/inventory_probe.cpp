#include "daemon/gpu/inventory_probe.h"

#include <chrono>
#include <future>
#include <thread>

namespace deepserve::daemon {

Result<GpuInventory> probe_inventory(OpenGpus open, uint64_t limit_ms) {
  std::promise<Result<GpuInventory>> promise;
  auto answer = promise.get_future();
  // Nobody can end a thread in a driver that hangs: it is left behind, with all that it uses.
  std::thread([open, told = std::move(promise)]() mutable {
    auto opened = open();
    auto gpus = opened.map([](const auto& source) { return source->inventory(); });
    if (opened) opened->reset();  // before the answer: whoever gets it may open the driver himself
    told.set_value(std::move(gpus));
  }).detach();
  if (answer.wait_for(std::chrono::milliseconds(limit_ms)) != std::future_status::ready) {
    return fail(Code::kIo, "the GPU driver has not answered within {} ms", limit_ms);
  }
  return answer.get();
}

}  // namespace deepserve::daemon
