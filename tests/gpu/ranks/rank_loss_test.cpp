// What becomes of a group of ranks on GPUs when one of them dies, stops, hangs or is told of an error, as it
// joins and in a step: every other rank ends within the limits, with an error that says why.
#include <gtest/gtest.h>

#include "runner/backend/cuda/device_exchange.h"
#include "runner/collective/nccl/nccl_library.h"
#include "tests/gpu/ranks/forked_group.h"

namespace deepserve::runner {
namespace {

using cuda::DeviceExchange;
using cuda::DeviceMemory;

constexpr uint32_t kRanks = 3;
constexpr uint32_t kLost = 1;
constexpr int kJoining = 0;  // which operation of a rank goes wrong
constexpr int kInAStep = 4;
constexpr uint32_t kSteps = 5;
const NcclLimits kLimits{
    .join_ns = 5 * kSecond_ns, .step_ns = 3 * kSecond_ns, .meet_ns = 3 * kSecond_ns, .abort_ns = kSecond_ns};
constexpr uint64_t kEnd_ns = 60 * kSecond_ns;  // generous: the host may be busy

Result<std::vector<float>> exchange_steps(Collective& peers) {
  TRY_ASSIGN(const auto* library, load_nccl());
  TRY_ASSIGN(const auto group, NcclGroup::join(*library, peers, kLimits));
  RankShare share;
  share.rank = peers.rank();
  share.ranks = peers.size();
  share.vocabulary.assign(peers.size(), 8);
  TRY_ASSIGN(DeviceExchange exchange,
             DeviceExchange::make(share, group.get(), {.tokens_max = 1, .embedding = 8, .logits_rows = 1}));
  TRY_ASSIGN(const auto stream, cuda::make_stream());
  TRY_ASSIGN(const DeviceMemory memory, DeviceMemory::make(1024, "a step"));
  auto* values = reinterpret_cast<float*>(memory.data());
  for (uint32_t step = 0; step < kSteps; ++step) {
    TRY(exchange.add_parts(values, 1, nullptr, stream.get()));
    TRY(exchange.gather_logits(1, values, stream.get()));
    TRY(exchange.wait(stream.get()));
  }
  TRY(peers.barrier(Patience::kForever));  // who ends before the others have the last step is lost to them
  return std::vector<float>{};
}

struct Fault {
  const char* name;
  Code code;              // of the others
  const char* of_others;  // in their errors
  bool ends_itself;       // the rank that it happens to
};

constexpr Fault kFaults[] = {
    {"die", Code::kRunnerLost, ") has died", true},
    {"stop", Code::kRunnerLost, ") hangs: it did not come to a barrier", false},
    {"hang", Code::kRunnerLost, "NCCL hangs: all 3 ranks live", true},
    {"stuck", Code::kRunnerLost, "NCCL hangs: all 3 ranks live", true},
    {"remote", Code::kRunnerLost, "gave up: NCCL, rank 1 of 3, ", true},
    {"system", Code::kInternal, "unhandled system error", true},
};

class RankLoss : public testing::TestWithParam<std::tuple<Fault, int>> {};

TEST_P(RankLoss, EndsTheGroupWithinTheLimitsAndSaysWhy) {
  const auto& [fault, call] = GetParam();
  ForkedGroup group(kRanks, fmt::format("rank={} fault={} call={}", kLost, fault.name, call), exchange_steps);
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    if (rank == kLost && !fault.ends_itself) continue;
    const auto end = group.end(rank, kEnd_ns);
    ASSERT_TRUE(end) << "rank " << rank << " hangs";
    EXPECT_FALSE(end->was_done);
    if (rank == kLost) continue;
    EXPECT_EQ(end->signal, 0);
    EXPECT_EQ(end->code, fault.code) << end->message;
    EXPECT_NE(end->message.find(fault.of_others), std::string::npos) << end->message;
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Fault, int>>& info) {
  const auto& [fault, call] = info.param;
  return fmt::format("{}_{}", fault.name, call == kJoining ? "joining" : "in_a_step");
}

INSTANTIATE_TEST_SUITE_P(Faults, RankLoss,
                         testing::Combine(testing::ValuesIn(kFaults), testing::Values(kJoining, kInAStep)),
                         name_of);

TEST(RankLossWithoutFault, AGroupThatLosesNobodyIsDone) {
  ForkedGroup group(kRanks, "", exchange_steps);
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    const auto end = group.end(rank, kEnd_ns);
    ASSERT_TRUE(end);
    EXPECT_TRUE(end->was_done) << end->message;
  }
}

TEST(RankLossWithoutFault, TwoRanksOnOneGpuAreRefusedByName) {
  setenv("CUDA_VISIBLE_DEVICES", "GPU-0", 1);
  ForkedGroup group(2, "", exchange_steps);
  unsetenv("CUDA_VISIBLE_DEVICES");
  for (uint32_t rank = 0; rank < 2; ++rank) {
    const auto end = group.end(rank, kEnd_ns);
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code, Code::kInvalidConfig) << end->message;
    EXPECT_NE(end->message.find("Duplicate GPU detected"), std::string::npos) << end->message;
  }
}

}  // namespace
}  // namespace deepserve::runner
