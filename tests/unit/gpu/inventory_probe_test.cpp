#include "daemon/gpu/inventory_probe.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kLong_ms = 20'000;

std::atomic<uint32_t> closed = 0;
std::atomic<bool> hangs = false;

class OneGpu final : public Gpus {
 public:
  ~OneGpu() override { ++closed; }
  const GpuInventory& inventory() const override { return inventory_; }
  GpuReading read(uint32_t) override { return {}; }
  std::vector<XidEvent> take_xids() override { return {}; }

 private:
  const GpuInventory inventory_{"580", 13000, {{.index = 0, .uuid = "GPU-a"}}};
};

Result<std::unique_ptr<Gpus>> open_one() {
  return std::make_unique<OneGpu>();
}

Result<std::unique_ptr<Gpus>> open_none() {
  return fail(Code::kNotFound, "no driver");
}

Result<std::unique_ptr<Gpus>> open_when_it_pleases() {
  while (hangs) ::usleep(1'000);
  return open_one();
}

TEST(InventoryProbe, TellsWhatThereIsAndLetsGoOfTheDriver) {
  closed = 0;
  const auto gpus = probe_inventory(open_one, kLong_ms);
  ASSERT_TRUE(gpus);
  EXPECT_EQ(gpus->find(0)->uuid, "GPU-a");
  EXPECT_EQ(closed, 1u);
}

TEST(InventoryProbe, SaysWhyThereIsNone) {
  const auto gpus = probe_inventory(open_none, kLong_ms);
  ASSERT_FALSE(gpus);
  EXPECT_EQ(gpus.error().message, "no driver");
}

TEST(InventoryProbe, DoesNotWaitForEverForADriverThatHangs) {
  closed = 0;
  hangs = true;
  const auto gpus = probe_inventory(open_when_it_pleases, 10);
  ASSERT_FALSE(gpus);
  EXPECT_EQ(gpus.error().code, Code::kIo);
  hangs = false;  // its thread ends while the program is still there
  while (closed == 0) ::usleep(1'000);
}

}  // namespace
}  // namespace deepserve::daemon
