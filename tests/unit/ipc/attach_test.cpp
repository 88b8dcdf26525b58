#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

using testing::Test;

std::string refusal(const Fd& memfd, Direction direction = Direction::kToDaemon,
                    uint64_t epoch_expected = 1) {
  const auto mapped = MappedDirection::map(memfd, direction, epoch_expected);
  if (mapped) return "";
  EXPECT_EQ(mapped.error().code, Code::kBadLane);
  return mapped.error().message;
}

// A direction whose header is changed before anybody attaches. `repair` renews the checksum over the change.
std::string refusal_after(const std::function<void(HeaderFacts&)>& change, bool repair = true) {
  const auto memfd = create_direction(kSmall, 0, Direction::kToDaemon, 1);
  const auto mapped = *MappedDirection::map(*memfd, Direction::kToDaemon, 1);
  change(mapped->header().facts);
  if (repair) mapped->header().checksum = checksum_of(mapped->header().facts);
  return refusal(*memfd);
}

TEST(Attach, AFreshDirectionIsTaken) {
  const auto memfd = create_direction(kSmall, 0, Direction::kToDaemon, 7);
  ASSERT_TRUE(memfd);
  EXPECT_EQ(refusal(*memfd, Direction::kToDaemon, 7), "");
  EXPECT_EQ(refusal(*memfd, Direction::kToDaemon, 0), "");  // any epoch
}

TEST(Attach, TheMemfdIsSealedAndClosesOnExec) {
  const auto memfd = create_direction(kSmall, 0, Direction::kToDaemon, 1);
  EXPECT_EQ(::fcntl(memfd->get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_EQ(::fcntl(memfd->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(::ftruncate(memfd->get(), 4096), 0);
  EXPECT_NE(::fcntl(memfd->get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(Attach, AnotherMagicIsRefused) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.magic ^= 1; }).find("magic"), std::string::npos);
}

TEST(Attach, AnotherMajorIsRefusedAndAnotherMinorIsNot) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) {
              ++facts.abi_major;
            }).find("ABI " + std::to_string(kAbiMajor + 1)),
            std::string::npos);
  EXPECT_EQ(refusal_after([](HeaderFacts& facts) { ++facts.abi_minor; }), "");
}

TEST(Attach, AnotherBuildIdIsOnlyInformation) {
  EXPECT_EQ(refusal_after([](HeaderFacts& facts) { facts.build_id[0] = 'x'; }), "");
}

TEST(Attach, AHeaderThatDoesNotMatchItsChecksumIsRefused) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.epoch = 2; }, false).find("checksum"),
            std::string::npos);
}

TEST(Attach, SizesThatDoNotMatchTheMemoryAreRefused) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.slots = 4096; }).find("size"), std::string::npos);
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.body_bytes = 8192; }).find("size"),
            std::string::npos);
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.slots = 7; }).find("power of two"),
            std::string::npos);
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.body_bytes = 0; }).find("body_bytes"),
            std::string::npos);
}

TEST(Attach, PartsThatLieElsewhereAreRefused) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.offsets.bodies += 4096; }).find("elsewhere"),
            std::string::npos);
}

TEST(Attach, UnknownFeaturesAreRefused) {
  EXPECT_NE(refusal_after([](HeaderFacts& facts) { facts.features = 1u << 31; }).find("features"),
            std::string::npos);
}

TEST(Attach, AnotherEpochIsRefused) {
  const auto memfd = create_direction(kSmall, 0, Direction::kToDaemon, 7);
  EXPECT_NE(refusal(*memfd, Direction::kToDaemon, 8).find("epoch is 7, not 8"), std::string::npos);
}

TEST(Attach, SwappedDirectionsAreRefused) {
  const auto memfd = create_direction(kSmall, 0, Direction::kToRunner, 1);
  EXPECT_NE(refusal(*memfd, Direction::kToDaemon).find("swapped"), std::string::npos);
}

TEST(Attach, AMemoryWithoutSealsIsRefused) {
  Fd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 1 << 20), 0);
  EXPECT_NE(refusal(unsealed).find("seals"), std::string::npos);
}

TEST(Attach, WhatIsNoMemfdIsRefused) {
  const Fd pipe_like(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_NE(refusal(pipe_like).find("no memfd"), std::string::npos);
}

TEST(Attach, ASealedMemoryThatIsTooSmallOrEmptyIsRefused) {
  for (const off_t bytes : {0, 4096}) {
    Fd tiny(::memfd_create("tiny", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(tiny.get(), bytes), 0);
    ASSERT_EQ(::fcntl(tiny.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    EXPECT_NE(refusal(tiny), "") << bytes;
  }
}

TEST(Attach, TheWriterOfADirectionIsRecorded) {
  const BothSides lane;
  EXPECT_EQ(lane.daemon->peer(), *process_identity(::getpid()));
  EXPECT_EQ(lane.runner->peer(), *process_identity(::getpid()));
}

TEST(Attach, TheLayoutIsAFunctionOfTheSizesAlone) {
  for (const uint32_t slots : {2u, 64u, 1024u}) {
    const LaneSizes sizes{.slots = slots, .body_bytes = 1u << 20};
    EXPECT_EQ(*offsets_of(sizes, 0), *offsets_of(sizes, 0));
    EXPECT_EQ(offsets_of(sizes, kFeatureSlotCrc)->header, *header_offset());
  }
}

TEST(Create, SizesAndEpochsOutOfRangeAreRefused) {
  EXPECT_EQ(create_lane({.slots = 100, .body_bytes = 4096}, 1).error().code, Code::kInvalidRequest);
  EXPECT_EQ(create_lane({.slots = 8, .body_bytes = 5000}, 1).error().code, Code::kInvalidRequest);
  EXPECT_EQ(create_lane(kSmall, 0).error().code, Code::kInvalidRequest);
  EXPECT_EQ(create_lane(kSmall, 1u << 24).error().code, Code::kInvalidRequest);
}

}  // namespace
}  // namespace deepserve::ipc
