// What the survivor reads of a process that died: each death in a child of its own, over a real lane.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <new>
#include <string_view>

#include "ipc/base/check.h"
#include "runner/lane/fatal_signals.h"
#include "runner/lane/process_share.h"
#include "runner/model/mapped_file.h"
#include "tests/unit/lane_server/lane_pair.h"

namespace deepserve::runner::testing {
namespace {

struct Death {
  int status = 0;
  ipc::DeathCause cause;
};

template <typename Deed>
Death die_of(Deed deed) {
  auto fds = ipc::create_lane({}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
    forbid_core_dumps();
    report_fatal_signals_to(*lane, 0);
    deed(*lane);
    _exit(99);
  }
  Death death;
  CHECK(waitpid(child, &death.status, 0) == child);
  death.cause = daemon.lane->death_cause();
  return death;
}

TEST(LastWords, ASegmentationFaultIsNamedAndStillKills) {
  const auto death = die_of([](ipc::Lane&) { raise(SIGSEGV); });
  EXPECT_TRUE(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGSEGV);
  EXPECT_EQ(death.cause.kind, 1u);
  EXPECT_EQ(death.cause.number, static_cast<uint32_t>(SIGSEGV));
}

TEST(LastWords, AFailedCheckIsAnAbort) {
  const auto death = die_of([](ipc::Lane&) { CHECK(1 + 1 == 3); });
  EXPECT_TRUE(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGABRT);
  EXPECT_EQ(death.cause.kind, 2u);
}

// A file of two pages, for as long as it is held.
struct ScratchFile {
  ScratchFile() : fd(mkstemp(path)) { CHECK(ftruncate(fd.get(), 8192) == 0); }
  ~ScratchFile() { unlink(path); }
  void cut() const { CHECK(ftruncate(fd.get(), 0) == 0); }

  char path[40] = "/tmp/deepserve-last-words-XXXXXX";
  Fd fd;
};

TEST(LastWords, AModelFileThatIsCutShortIsAModelThatChanged) {
  const ScratchFile file;
  const auto death = die_of([&](ipc::Lane&) {
    const auto mapped = MappedFile::open(file.path).value();
    const volatile uint8_t* bytes = mapped.bytes().data();
    file.cut();
    _exit(bytes[5000]);
  });
  EXPECT_TRUE(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGBUS);
  EXPECT_EQ(death.cause.kind, 4u);
}

TEST(LastWords, AnotherFileThatIsCutShortIsABusErrorAndNotTheModels) {
  const ScratchFile file;
  const auto death = die_of([&](ipc::Lane&) {
    const auto* bytes =
        static_cast<const volatile char*>(mmap(nullptr, 8192, PROT_READ, MAP_SHARED, file.fd.get(), 0));
    file.cut();
    _exit(bytes[5000]);
  });
  EXPECT_TRUE(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGBUS);
  EXPECT_EQ(death.cause.kind, 1u);
  EXPECT_EQ(death.cause.number, static_cast<uint32_t>(SIGBUS));
}

TEST(LastWords, MemoryThatCannotBeHadEndsWithThatReason) {
  if (kSanitized) GTEST_SKIP() << "no memory limits under a sanitizer";
  const auto death = die_of([](ipc::Lane&) {
    CHECK(limit_memory(64 << 20));
    for (;;) static_cast<volatile char*>(::operator new(16 << 20))[0] = 1;
  });
  EXPECT_TRUE(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 1);
  EXPECT_EQ(death.cause.kind, 3u);
  EXPECT_EQ(death.cause.number, static_cast<uint32_t>(Code::kOutOfMemory));
}

TEST(LastWords, AReportedErrorKeepsItsCodeAndItsText) {
  const auto death = die_of([](ipc::Lane& lane) {
    record_reported_error(lane, {Code::kBadModelFile, "x.gguf is cut"}, false);
  });
  EXPECT_EQ(death.cause.kind, 3u);
  EXPECT_EQ(death.cause.number, static_cast<uint32_t>(Code::kBadModelFile));
  EXPECT_EQ(std::string_view(death.cause.text.data()), "x.gguf is cut");
}

TEST(LastWords, ADeviceFaultKeepsTheDevicesOwnNumber) {
  const auto death = die_of([](ipc::Lane& lane) {
    record_reported_error(lane, {Code::kDeviceFault, "step 3: illegal address", 700}, false);
  });
  EXPECT_EQ(death.cause.kind, 5u);
  EXPECT_EQ(death.cause.number, 700u);
  EXPECT_EQ(std::string_view(death.cause.text.data()), "step 3: illegal address");
}

}  // namespace
}  // namespace deepserve::runner::testing
