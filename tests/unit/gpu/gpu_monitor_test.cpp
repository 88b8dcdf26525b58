#include "daemon/gpu/gpu_monitor.h"

#include <gmock/gmock.h>

#include <atomic>
#include <mutex>

#include "ipc/base/clock.h"
#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// What the GPUs are at present, for any thread.
struct Host {
  std::mutex mutex;
  std::optional<Error> absent;
  GpuInventory inventory{"580", 13000, {{.index = 0, .uuid = "GPU-a"}, {.index = 1, .uuid = "GPU-b"}}};
  std::vector<uint64_t> free_bytes = {10, 20};
  std::string trouble;  // of GPU 0
  std::vector<XidEvent> xids;
  uint32_t opened = 0;
  uint32_t closed = 0;
  std::atomic<bool> holds = false;  // a reading does not end
};
Host* host = nullptr;

class HostGpus final : public Gpus {
 public:
  explicit HostGpus(GpuInventory inventory) : inventory_(std::move(inventory)) {}
  ~HostGpus() override {
    const std::lock_guard lock(host->mutex);
    ++host->closed;
  }
  const GpuInventory& inventory() const override { return inventory_; }
  GpuReading read(uint32_t index) override {
    while (host->holds) ::usleep(1000);
    const std::lock_guard lock(host->mutex);
    GpuReading reading;
    if (index == 0) reading.trouble = host->trouble;
    if (reading.trouble.empty()) reading.memory_free_bytes = host->free_bytes[index];
    return reading;
  }
  std::vector<XidEvent> take_xids() override {
    const std::lock_guard lock(host->mutex);
    return std::exchange(host->xids, {});
  }

 private:
  const GpuInventory inventory_;
};

Result<std::unique_ptr<Gpus>> open_host() {
  const std::lock_guard lock(host->mutex);
  ++host->opened;
  if (host->absent) return tl::unexpected(*host->absent);
  return std::make_unique<HostGpus>(host->inventory);
}

class GpuMonitorTest : public ::testing::Test {
 protected:
  GpuMonitorTest() { host = &host_; }
  ~GpuMonitorTest() override { host_.holds = false; }

  // Turns the loop until a reading that begins now has ended.
  void read() {
    bool is_read = false;
    monitor_.after_next_reading([&] { is_read = true; });
    ASSERT_TRUE(pump_until(loop_, [&] { return is_read; }));
  }

  Host host_;
  Loop loop_;
  std::vector<XidEvent> told_;
  GpuMonitor monitor_{loop_, open_host, [this](const XidEvent& event) { told_.push_back(event); }};
};

TEST_F(GpuMonitorTest, OpensNothingBeforeSomebodyWantsIt) {
  read();
  EXPECT_EQ(host_.opened, 0u);
  EXPECT_EQ(monitor_.inventory(), nullptr);
  monitor_.watch(true);
  read();
  EXPECT_EQ(host_.opened, 1u);
  ASSERT_NE(monitor_.inventory(), nullptr);
  EXPECT_EQ(monitor_.gpus().size(), 2u);
}

TEST_F(GpuMonitorTest, FindsAGpuByIndexAndByUuid) {
  monitor_.watch(true);
  read();
  ASSERT_NE(monitor_.find("GPU-b"), nullptr);
  EXPECT_EQ(monitor_.find("GPU-b"), monitor_.find(1));
  EXPECT_EQ(monitor_.find(1)->reading.memory_free_bytes, 20u);
  EXPECT_TRUE(monitor_.find(1)->answers(monotonic_ns()));
  EXPECT_EQ(monitor_.find(2), nullptr);
  EXPECT_EQ(monitor_.find("GPU-c"), nullptr);
  EXPECT_EQ(monitor_.named("1"), monitor_.find(1));
  EXPECT_EQ(monitor_.named("GPU-b"), monitor_.find(1));
  for (const auto* name : {"2", "1x", "", "-1", "GPU-"}) EXPECT_EQ(monitor_.named(name), nullptr) << name;
}

TEST_F(GpuMonitorTest, WhoAsksGetsAReadingThatBeganAfterwards) {
  monitor_.watch(true);
  read();
  host_.holds = true;
  ASSERT_TRUE(pump_until(loop_, [&] { return monitor_.is_reading(); }));
  const uint64_t asked_ns = monotonic_ns();
  bool is_read = false;
  monitor_.after_next_reading([&] { is_read = true; });
  host_.free_bytes = {11, 22};
  host_.holds = false;
  ASSERT_TRUE(pump_until(loop_, [&] { return is_read; }));
  EXPECT_GE(monitor_.find(0)->read_ns, asked_ns);
  EXPECT_EQ(monitor_.find(0)->reading.memory_free_bytes, 11u);
}

TEST_F(GpuMonitorTest, TheLoopTurnsWhileTheDriverHangs) {
  monitor_.watch(true);
  host_.holds = true;
  ASSERT_TRUE(pump_until(loop_, [&] { return monitor_.is_reading(); }));
  int turns = 0;
  Timer timer(loop_, [&] { ++turns; });
  timer.start(1, 1);
  ASSERT_TRUE(pump_until(loop_, [&] { return turns == 100; }));
  EXPECT_EQ(loop_.in_pool(), 1u);
  EXPECT_TRUE(monitor_.is_reading());
  host_.holds = false;
  ASSERT_TRUE(pump_until(loop_, [&] { return !monitor_.is_reading(); }));
  EXPECT_EQ(loop_.in_pool(), 0u);
}

TEST_F(GpuMonitorTest, AnAbsentDriverIsAskedForOnceAMinute) {
  host_.absent = Error{Code::kNotFound, "no driver"};
  monitor_.watch(true);
  read();
  read();
  EXPECT_EQ(host_.opened, 1u);
  EXPECT_EQ(monitor_.trouble(), "no driver");
  EXPECT_EQ(monitor_.inventory(), nullptr);
  EXPECT_TRUE(monitor_.gpus().empty());
}

TEST_F(GpuMonitorTest, AGpuInTroubleDoesNotAnswerAndTheOthersDo) {
  monitor_.watch(true);
  read();
  host_.trouble = "GPU is lost";
  read();
  EXPECT_FALSE(monitor_.find(0)->answers(monotonic_ns()));
  EXPECT_EQ(monitor_.find(0)->reading.trouble, "GPU is lost");
  EXPECT_TRUE(monitor_.find(1)->answers(monotonic_ns()));
  host_.trouble.clear();
  read();
  EXPECT_TRUE(monitor_.find(0)->answers(monotonic_ns()));
}

TEST_F(GpuMonitorTest, AnOldReadingIsNoAnswer) {
  monitor_.watch(true);
  read();
  const uint64_t read_ns = monitor_.find(0)->read_ns;
  EXPECT_TRUE(monitor_.find(0)->answers(read_ns + GpuState::kStale_ns - 1));
  EXPECT_FALSE(monitor_.find(0)->answers(read_ns + GpuState::kStale_ns));
}

TEST_F(GpuMonitorTest, XidsAreToldOnceAndCounted) {
  monitor_.watch(true);
  host_.xids = {{1, 79}, {0, 31}, {0, 31}};
  read();
  read();
  EXPECT_THAT(told_, ElementsAre(XidEvent{1, 79}, XidEvent{0, 31}, XidEvent{0, 31}));
  EXPECT_THAT(monitor_.find(0)->xids, ElementsAre(Pair(31, 2)));
  EXPECT_THAT(monitor_.find(1)->xids, ElementsAre(Pair(79, 1)));
}

TEST_F(GpuMonitorTest, XidsOfManyKindsDoNotGrowWithoutEnd) {
  monitor_.watch(true);
  for (uint64_t xid = 0; xid < 100; ++xid) host_.xids.push_back({0, xid});
  read();
  const auto& xids = monitor_.find(0)->xids;
  EXPECT_EQ(xids.size(), GpuState::kXidKindsMax + 1);
  EXPECT_EQ(xids.at(GpuState::kOtherXids), 100 - GpuState::kXidKindsMax);
  EXPECT_EQ(told_.size(), 100u);
}

TEST_F(GpuMonitorTest, PausedItBeginsNoReading) {
  monitor_.watch(true);
  read();
  monitor_.pause();
  ASSERT_TRUE(pump_until(loop_, [&] { return !monitor_.is_reading(); }));
  const uint64_t read_ns = monitor_.find(0)->read_ns;
  read();
  EXPECT_EQ(monitor_.find(0)->read_ns, read_ns);
  monitor_.resume();
  read();
  EXPECT_GT(monitor_.find(0)->read_ns, read_ns);
}

TEST_F(GpuMonitorTest, WantedNoMoreItLetsGoOfTheDriverAndForgets) {
  monitor_.watch(true);
  read();
  monitor_.watch(false);
  EXPECT_EQ(monitor_.inventory(), nullptr);
  EXPECT_TRUE(monitor_.gpus().empty());
  ASSERT_TRUE(pump_until(loop_, [&] { return host_.closed == 1; }));
  monitor_.watch(true);
  read();
  EXPECT_EQ(monitor_.gpus().size(), 2u);
  EXPECT_EQ(host_.opened, 2u);
}

TEST_F(GpuMonitorTest, WhatWasReadForSomebodyWhoIsGoneIsNotTaken) {
  monitor_.watch(true);
  read();
  host_.holds = true;
  ASSERT_TRUE(pump_until(loop_, [&] { return monitor_.is_reading(); }));
  monitor_.watch(false);
  monitor_.watch(true);
  host_.holds = false;
  read();
  EXPECT_EQ(host_.opened, 2u);
  EXPECT_EQ(host_.closed, 1u);
  EXPECT_EQ(monitor_.gpus().size(), 2u);
}

TEST_F(GpuMonitorTest, DestroyedWhileItReadsItLeavesTheDriverToTheTask) {
  auto monitor = std::make_unique<GpuMonitor>(loop_, open_host, nullptr);
  monitor->watch(true);
  host_.holds = true;
  ASSERT_TRUE(pump_until(loop_, [&] { return monitor->is_reading(); }));
  monitor.reset();
  host_.holds = false;
  ASSERT_TRUE(pump_until(loop_, [&] { return loop_.in_pool() == 0; }));
  EXPECT_EQ(host_.opened, host_.closed);
}

}  // namespace
}  // namespace deepserve::daemon
