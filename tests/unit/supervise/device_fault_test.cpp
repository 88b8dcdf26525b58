#include "daemon/supervise/device_fault.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace deepserve::daemon {
namespace {

using A = DeviceAction;

struct Expected {
  A action;
  A shared;
  Blame blame;
};

// Every row, by the first and the last of its numbers; what is not here is checked to be no row.
const std::map<int, Expected> kExpected = {
    {2, {A::kFailRequest, A::kFailRequest, Blame::kRunner}},
    {35, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {46, {A::kRestartRunner, A::kRestartRunner, Blame::kNobody}},
    {100, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {101, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {209, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {214, {A::kDrainGpu, A::kDrainGpu, Blame::kNobody}},
    {220, {A::kDrainGpu, A::kDrainGpu, Blame::kNobody}},
    {226, {A::kRestartRunner, A::kRestartRunner, Blame::kNobody}},
    {700, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {702, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {710, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {714, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {715, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {716, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {717, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {718, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {719, {A::kRestartRunner, A::kRecycleMps, Blame::kRunner}},
    {802, {A::kRestartRunner, A::kRestartRunner, Blame::kNobody}},
    {803, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {804, {A::kGiveUp, A::kGiveUp, Blame::kNobody}},
    {805, {A::kRecycleMps, A::kRecycleMps, Blame::kNobody}},
    {806, {A::kRecycleMps, A::kRecycleMps, Blame::kNobody}},
    {807, {A::kRecycleMps, A::kRecycleMps, Blame::kNobody}},
    {808, {A::kRestartRunner, A::kRestartRunner, Blame::kNobody}},
    {809, {A::kRestartRunner, A::kRestartRunner, Blame::kNobody}},
    {810, {A::kRecycleMps, A::kRecycleMps, Blame::kNobody}},
};

TEST(DeviceFault, EveryCudaNumberIsJudgedAsExpected) {
  for (int number = -5; number <= 1100; ++number) {
    const auto& row = cuda_fault(number);
    const auto found = kExpected.find(number);
    if (found == kExpected.end()) {
      EXPECT_EQ(&row, &cuda_faults().back()) << number;
      continue;
    }
    EXPECT_EQ(row.action, found->second.action) << number;
    EXPECT_EQ(row.shared, found->second.shared) << number;
    EXPECT_EQ(row.blame, found->second.blame) << number;
    EXPECT_FALSE(row.name.empty());
  }
}

TEST(DeviceFault, AnUnknownCudaErrorRestartsTheRunnerAndSuspectsItsRequests) {
  EXPECT_EQ(cuda_fault(999).action, A::kRestartRunner);
  EXPECT_EQ(cuda_fault(999).blame, Blame::kRunner);
}

TEST(DeviceFault, TheXidsThatWantAResetDrainTheGpuAndNoOthersDo) {
  std::vector<uint32_t> draining;
  for (uint32_t xid = 0; xid < 300; ++xid) {
    const auto& row = xid_fault(xid);
    EXPECT_TRUE(row.xid == xid || &row == &xid_faults().back());
    if (row.action == A::kDrainGpu) {
      draining.push_back(xid);
    } else {
      EXPECT_EQ(row.action, A::kNote) << xid;
    }
  }
  EXPECT_EQ(draining, (std::vector<uint32_t>{46, 48, 62, 64, 74, 79, 95, 109, 119, 120, 140}));
}

TEST(DeviceFault, TextsNameNumberAndMeaning) {
  EXPECT_EQ(cuda_fault_text(700), "CUDA error 700 (illegal address)");
  EXPECT_EQ(cuda_fault_text(12345), "CUDA error 12345 (unexpected)");
  EXPECT_EQ(xid_fault_text(79), "Xid 79 (the GPU has fallen off the bus)");
  EXPECT_EQ(device_action_name(A::kRecycleMps), "recycle MPS");
}

}  // namespace
}  // namespace deepserve::daemon
