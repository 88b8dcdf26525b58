#include "daemon/supervise/gpu_share.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace deepserve::daemon {
namespace {

using E = ShareEvent;
using S = ShareState;

// One letter for each rule, in the order of the enum; the columns are those of ShareEvent.
const std::map<S, std::string> kExpected = {
    {S::kAlone, "s..C..D.X"},     {S::kWaiting, ".LOCTCD.."},    {S::kShared, ".L.CTCD.."},
    {S::kRecycling, ".L..T.D.N"}, {S::kTimeSliced, "sL....D.."}, {S::kDrained, "...E...RX"},
};

TEST(GpuShareTable, EveryCellIsAsItReads) {
  constexpr std::string_view kLetters = ".sOCNTLXDER";
  static_assert(kLetters.size() == static_cast<size_t>(ShareRule::kCount));
  for (const auto& [state, expected] : kExpected) {
    std::string row;
    for (int event = 0; event < static_cast<int>(E::kCount); ++event) {
      row += kLetters[static_cast<size_t>(share_rule(state, static_cast<E>(event)))];
    }
    EXPECT_EQ(row, expected) << share_state_name(state);
  }
  EXPECT_EQ(kExpected.size(), static_cast<size_t>(S::kCount));
}

// A GPU that is shared, with its MPS daemon up.
class SharedGpu : public ::testing::Test {
 protected:
  SharedGpu() {
    EXPECT_TRUE(share_.step(E::kShare).start_mps);
    EXPECT_FALSE(share_.may_start());
    EXPECT_TRUE(share_.step(E::kMpsReady).admit);
    EXPECT_TRUE(share_.may_start() && share_.uses_mps());
  }
  GpuShare share_;
};

TEST(GpuShare, OneRunnerAloneNeedsNoMps) {
  GpuShare share;
  const auto actions = share.step(E::kOwn);
  EXPECT_FALSE(actions.start_mps || actions.stop_mps || actions.end_clients);
  EXPECT_TRUE(share.may_start());
  EXPECT_FALSE(share.uses_mps());
}

TEST_F(SharedGpu, AClientsFaultEndsAllClientsThenTheDaemonThenStartsBoth) {
  EXPECT_TRUE(share_.step(E::kFault).end_clients);
  EXPECT_FALSE(share_.may_start());
  EXPECT_FALSE(share_.may_start_mps()) << "clients of the old daemon are there";
  EXPECT_FALSE(share_.step(E::kFault).end_clients) << "they are being ended";
  const auto emptied = share_.step(E::kEmptied);
  EXPECT_TRUE(emptied.stop_mps && emptied.start_mps);
  EXPECT_TRUE(share_.step(E::kMpsReady).admit);
  EXPECT_EQ(share_.state(), S::kShared);
}

TEST_F(SharedGpu, TheDaemonsDeathEndsItsClientsAndOnlyThenComesAnother) {
  EXPECT_TRUE(share_.step(E::kMpsGone).end_clients);
  EXPECT_FALSE(share_.may_start_mps());
  EXPECT_TRUE(share_.step(E::kEmptied).start_mps);
  EXPECT_TRUE(share_.may_start_mps());
}

TEST_F(SharedGpu, ADaemonThatDiesTooOftenLeavesTimeSlicing) {
  share_.step(E::kMpsGone);
  share_.step(E::kEmptied);
  EXPECT_TRUE(share_.step(E::kMpsGivenUp).admit);
  EXPECT_EQ(share_.state(), S::kTimeSliced);
  EXPECT_TRUE(share_.may_start());
  EXPECT_FALSE(share_.uses_mps());
  EXPECT_TRUE(share_.step(E::kShare).start_mps) << "a new configuration is a new trial";
}

TEST(GpuShare, WithoutTheProgramRunnersTakeTurns) {
  GpuShare share;
  share.step(E::kShare);
  EXPECT_TRUE(share.step(E::kMpsGivenUp).admit);
  EXPECT_EQ(share.state(), S::kTimeSliced);
  EXPECT_TRUE(share.step(E::kOwn).admit);
  EXPECT_EQ(share.state(), S::kAlone);
}

TEST_F(SharedGpu, AGpuThatIsSharedNoLongerKeepsItsDaemonUntilTheLastClientIsGone) {
  const auto left = share_.step(E::kOwn);
  EXPECT_FALSE(left.stop_mps);
  EXPECT_TRUE(share_.may_start());
  EXPECT_FALSE(share_.uses_mps());
  EXPECT_TRUE(share_.step(E::kEmptied).stop_mps);
  EXPECT_FALSE(share_.step(E::kEmptied).stop_mps);
}

TEST_F(SharedGpu, AGpuThatIsSharedAgainBeforeThatGoesOnWithItsDaemon) {
  share_.step(E::kOwn);
  const auto again = share_.step(E::kShare);
  EXPECT_FALSE(again.start_mps);
  EXPECT_TRUE(again.admit);
  EXPECT_EQ(share_.state(), S::kShared);
}

TEST_F(SharedGpu, ADrainedGpuStartsNobodyUntilItIsReset) {
  EXPECT_TRUE(share_.step(E::kDrain).admit) << "who waits hears that it waits in vain";
  EXPECT_FALSE(share_.may_start());
  EXPECT_FALSE(share_.step(E::kMpsReady).admit);
  EXPECT_TRUE(share_.step(E::kEmptied).stop_mps);
  share_.step(E::kMpsGone);
  EXPECT_FALSE(share_.step(E::kShare).start_mps);
  EXPECT_TRUE(share_.step(E::kReset).start_mps);
  EXPECT_EQ(share_.state(), S::kWaiting);
}

TEST_F(SharedGpu, ADrainedGpuWhoseClientsLiveIsResetWithoutANewDaemon) {
  share_.step(E::kDrain);
  const auto reset = share_.step(E::kReset);
  EXPECT_FALSE(reset.start_mps);
  EXPECT_TRUE(reset.admit);
  EXPECT_EQ(share_.state(), S::kShared);
}

TEST_F(SharedGpu, ADrainedGpuWhoseDaemonDiesEndsTheLastClients) {
  share_.step(E::kDrain);
  EXPECT_TRUE(share_.step(E::kMpsGone).end_clients);
  EXPECT_EQ(share_.state(), S::kDrained);
}

TEST(GpuShare, ADrainedGpuThatNobodySharesIsResetToBeAlone) {
  GpuShare share;
  share.step(E::kOwn);
  share.step(E::kDrain);
  EXPECT_TRUE(share.step(E::kReset).admit);
  EXPECT_EQ(share.state(), S::kAlone);
}

TEST(GpuShare, AFaultBeforeTheDaemonOfAnEarlierDsdHasAnsweredRecyclesIt) {
  GpuShare share;
  share.adopt_mps();
  share.step(E::kShare);
  EXPECT_TRUE(share.step(E::kFault).end_clients);
  const auto emptied = share.step(E::kEmptied);
  EXPECT_TRUE(emptied.stop_mps && emptied.start_mps);
  EXPECT_TRUE(share.step(E::kMpsReady).admit);
}

TEST(GpuShare, ADaemonOfAnEarlierDsdIsNotStartedASecondTime) {
  GpuShare share;
  share.adopt_mps();
  EXPECT_FALSE(share.step(E::kShare).start_mps);
  EXPECT_TRUE(share.step(E::kMpsReady).admit);
  GpuShare unwanted;
  unwanted.adopt_mps();
  unwanted.step(E::kOwn);
  EXPECT_TRUE(unwanted.step(E::kEmptied).stop_mps) << "it ends with its last client";
}

}  // namespace
}  // namespace deepserve::daemon
