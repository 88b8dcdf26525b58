#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "ipc/base/bytes.h"
#include "ipc/base/clock.h"
#include "ipc/base/errors.h"
#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/lane/crc32c.h"
#include "ipc/lane/process_identity.h"

namespace deepserve {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) != -1;
}

TEST(Fd, ClosesWhatItOwnsAndMovesWithoutClosing) {
  Fd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  Fd second(std::move(first));
  EXPECT_FALSE(first);
  EXPECT_TRUE(is_open(number));
  second = Fd();
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, ReleaseHandsTheDescriptorOver) {
  Fd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = owner.release();
  EXPECT_EQ(owner.get(), -1);
  EXPECT_TRUE(is_open(number));
  ::close(number);
}

TEST(Bytes, WhatIsWrittenIsRead) {
  std::vector<std::byte> bytes;
  bytes.reserve(64);  // growing at known sizes makes GCC 12 warn of copies that never happen
  ByteWriter out(bytes);
  out.put(uint16_t{7});
  out.put(-1.5);
  out.put_string("grüße");
  out.put_array<uint32_t>(std::vector<uint32_t>{1, 2, 3});
  ByteReader in(bytes);
  EXPECT_EQ(in.get<uint16_t>(), 7);
  EXPECT_EQ(in.get<double>(), -1.5);
  EXPECT_EQ(in.get_string(), "grüße");
  EXPECT_EQ(in.get_array<uint32_t>(), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_TRUE(in.done());
}

TEST(Bytes, ReadingPastTheEndGivesZerosForEver) {
  std::vector<std::byte> bytes;
  ByteWriter(bytes).put(uint32_t{0xffffffff});  // the length of a string that is not there
  ByteReader in(bytes);
  EXPECT_EQ(in.get_string(), "");
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.get<uint64_t>(), 0u);
  EXPECT_TRUE(in.get_array<uint64_t>().empty());
  EXPECT_FALSE(in.done());
}

TEST(Bytes, ACountThatCannotBeThereIsZero) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(uint32_t{1000});
  out.put(uint64_t{0});
  ByteReader in(bytes);
  EXPECT_EQ(in.get_count(8), 0u);
  EXPECT_FALSE(in.ok());
}

TEST(Errors, EveryRowIsCompleteAndItsNameLeadsBackToIt) {
  std::set<std::string_view> names;
  for (uint16_t index = 0; index < static_cast<uint16_t>(Code::kCount); ++index) {
    const auto code = static_cast<Code>(index);
    const ErrorRow& row = error_row(code);
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " appears twice";
    EXPECT_EQ(code_from_name(row.name), code);
    EXPECT_GE(row.http_status, 400);
    EXPECT_GE(row.exit_code, 1);
    EXPECT_LE(row.exit_code, 5);
  }
}

TEST(Errors, AnUnknownCodeOrNameIsInternal) {
  EXPECT_EQ(error_row(static_cast<Code>(60000)).name, "internal_error");
  EXPECT_EQ(code_from_name("no such name"), Code::kInternal);
}

Result<int> doubled(Result<int> input) {
  TRY_ASSIGN(const int value, std::move(input));
  return 2 * value;
}

TEST(ResultMacros, TryAssignBindsTheValueOrReturnsTheError) {
  EXPECT_EQ(*doubled(21), 42);
  const auto failed = doubled(fail(Code::kNotFound, "no {}", "number"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::kNotFound);
  EXPECT_EQ(failed.error().message, "no number");
}

TEST(Clock, NeverGoesBack) {
  const uint64_t before_ns = monotonic_ns();
  EXPECT_GE(monotonic_ns(), before_ns);
}

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  const std::vector<std::byte> zeros(32, std::byte{0});
  EXPECT_EQ(ipc::crc32c(zeros), 0x8a9136aau);
  std::vector<std::byte> rising(32);
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
  EXPECT_EQ(ipc::crc32c(rising), 0x46dd794eu);
}

TEST(Crc32c, BothPathsAgreeAndContinueAtAnyCut) {
  std::vector<std::byte> bytes(101);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
  const std::span<const std::byte> all(bytes);
  const uint32_t whole = ipc::crc32c_portable(all);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(ipc::crc32c(all.subspan(cut), ipc::crc32c(all.first(cut))), whole);
  }
}

TEST(ProcessIdentity, IsStableForALivingProcessAndMissingForNone) {
  const auto self = ipc::process_identity(::getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(self->pid, static_cast<uint64_t>(::getpid()));
  EXPECT_GT(self->start_ticks, 0u);
  EXPECT_EQ(*ipc::process_identity(::getpid()), *self);
  EXPECT_EQ(ipc::process_identity(1 << 30).error().code, Code::kNotFound);
}

TEST(ProcessIdentity, TellsToATickWhenAProcessStarted) {
  constexpr uint64_t kTick_ns = 10'000'000;
  const uint64_t before_ns = monotonic_ns();
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const auto identity = ipc::process_identity(child);
  const uint64_t after_ns = monotonic_ns();
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(identity);
  EXPECT_GE(ipc::start_ns(*identity) + 2 * kTick_ns, before_ns);
  EXPECT_LE(ipc::start_ns(*identity), after_ns + 2 * kTick_ns);
}

}  // namespace
}  // namespace deepserve
