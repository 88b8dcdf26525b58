// What a runner says of itself when a dsd that comes anew has found it.
#include "ipc/base/check.h"
#include "ipc/lane/rendezvous.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using deepserve::ipc::RunnerHello;
  const auto hello = RunnerHello::decode({reinterpret_cast<const std::byte*>(data), size});
  if (!hello) return 0;
  const auto again = RunnerHello::decode(hello->encode());
  CHECK(again && again->encode() == hello->encode() && again->command == hello->command);
  return 0;
}
