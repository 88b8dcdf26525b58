#include "ipc/rank_group/group_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "ipc/lane/crc32c.h"

namespace deepserve::ipc {
namespace {

constexpr GroupShape kSmall{.ranks = 3, .buffer_bytes = 4096, .generation = 7};

std::string refusal(const Fd& memfd, uint64_t generation_expected = 7) {
  const auto mapped = GroupMemory::map(memfd, generation_expected);
  if (mapped) return "";
  EXPECT_EQ(mapped.error().code, Code::kBadLane);
  return mapped.error().message;
}

// A group whose header is changed before anybody attaches. `repair` renews the checksum over the change.
std::string refusal_after(const std::function<void(GroupFacts&)>& change, bool repair = true) {
  const auto memfd = create_group_memory(kSmall);
  auto* header = static_cast<GroupHeader*>(
      mmap(nullptr, sizeof(GroupHeader), PROT_READ | PROT_WRITE, MAP_SHARED, memfd->get(), 0));
  change(header->facts);
  if (repair) header->checksum = crc32c(std::as_bytes(std::span(&header->facts, 1)));
  munmap(header, sizeof(GroupHeader));
  return refusal(*memfd);
}

bool names(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

TEST(GroupMemory, AFreshGroupIsTaken) {
  const auto memfd = create_group_memory(kSmall);
  ASSERT_TRUE(memfd) << memfd.error().message;
  EXPECT_EQ(refusal(*memfd), "");
  EXPECT_EQ(refusal(*memfd, 0), "");  // any generation
  EXPECT_EQ(fcntl(memfd->get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

TEST(GroupMemory, ShapesThatMakeNoSenseAreRefusedByName) {
  const auto text = [](GroupShape shape) { return create_group_memory(shape).error().message; };
  EXPECT_TRUE(names(text({.ranks = 1}), "from 2 to 64 ranks, not 1"));
  EXPECT_TRUE(names(text({.ranks = 65}), "not 65"));
  EXPECT_TRUE(names(text({.buffer_bytes = 5000}), "buffer_bytes"));
  EXPECT_TRUE(names(text({.generation = 0}), "generation"));
}

TEST(GroupMemory, AHeaderThatDiffersIsRefusedByName) {
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { facts.magic ^= 1; }), "magic"));
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { ++facts.abi_major; }), "ABI 2.1"));
  EXPECT_EQ(refusal_after([](GroupFacts& facts) { ++facts.abi_minor; }), "");
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { ++facts.ranks; }, false), "checksum"));
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { facts.ranks = 1u << 20; }), "ranks, not 1048576"));
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { facts.buffer_bytes *= 2; }), "memory's size"));
  EXPECT_TRUE(names(refusal_after([](GroupFacts& facts) { ++facts.generation; }), "generation is 8, not 7"));
}

TEST(GroupMemory, AMemoryThatIsNoGroupIsRefused) {
  EXPECT_TRUE(names(refusal(Fd(open("/dev/zero", O_RDONLY))), "no memfd"));
  const Fd unsealed(memfd_create("test", MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 4096), 0);
  EXPECT_TRUE(names(refusal(unsealed), "seals"));
  const auto zeros = create_sealed_memory("test", 16, [](auto) { return Result<void>(); });
  EXPECT_TRUE(names(refusal(*zeros), "16 bytes are too few"));
}

TEST(GroupMemory, BuffersLieApartAndInside) {
  const auto memory = *GroupMemory::map(*create_group_memory(kSmall), 7);
  for (uint32_t rank = 0; rank < 3; ++rank) {
    for (const uint32_t parity : {0u, 1u})
      std::memset(memory->buffer(rank, parity).data(), static_cast<int>(1 + rank * 2 + parity), 4096);
  }
  for (uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(memory->words(rank).entered.load(), 0u);
    for (const uint32_t parity : {0u, 1u}) {
      for (const std::byte value : memory->buffer(rank, parity))
        ASSERT_EQ(value, static_cast<std::byte>(1 + rank * 2 + parity));
    }
  }
}

TEST(GroupMemory, TheFirstFailureStaysAndIsPrintable) {
  const auto memory = *GroupMemory::map(*create_group_memory(kSmall), 7);
  EXPECT_FALSE(memory->failure(1));
  memory->record_failure(1, Code::kBadModelFile, "the file\nhas changed");
  memory->record_failure(1, Code::kIo, "later");
  const auto failure = memory->failure(1);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code, Code::kBadModelFile);
  EXPECT_EQ(failure->message, "the file?has changed");
  EXPECT_FALSE(memory->failure(0));
  EXPECT_EQ(failure->device_error, 0);
  memory->record_failure(0, Code::kDeviceFault, "illegal address", 700);
  EXPECT_EQ(memory->failure(0)->device_error, 700);
  memory->record_failure(2, Code::kIo, std::string(10'000, 'x'));
  EXPECT_EQ(memory->failure(2)->message, std::string(kFailureText_bytes - 1, 'x'));
}

}  // namespace
}  // namespace deepserve::ipc
