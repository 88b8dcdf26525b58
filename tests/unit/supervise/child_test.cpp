#include "daemon/supervise/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

namespace deepserve::daemon {
namespace {

using ::testing::HasSubstr;

ChildStatus wait_and_reap(Child& child) {
  pollfd ended{child.pidfd(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 20'000), 1);
  return child.reap();
}

// What `script` writes to descriptor 5, which it inherits.
std::string output_of(const std::string& script, const Environment& environment = {}) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Fd read_end(ends[0]), write_end(ends[1]);
  const std::pair<int, int> inherited[] = {{write_end.get(), 5}};
  auto child = Child::spawn({"/bin/sh", "-c", script}, inherited, environment);
  EXPECT_TRUE(child) << child.error().message;
  write_end.reset();
  std::string output;
  char chunk[4096];
  for (ssize_t got; (got = read(read_end.get(), chunk, sizeof chunk)) > 0;) output.append(chunk, got);
  EXPECT_TRUE(wait_and_reap(*child).exited);
  return output;
}

TEST(Child, TellsExitStatusAndSignal) {
  auto child = Child::spawn({"/bin/sh", "-c", "exit 7"}, {});
  ASSERT_TRUE(child);
  const auto exited = wait_and_reap(*child);
  EXPECT_TRUE(exited.exited);
  EXPECT_EQ(exited.exit_status, 7);
  auto sleeper = Child::spawn({"/bin/sleep", "100"}, {});
  ASSERT_TRUE(sleeper);
  sleeper->signal(SIGKILL);
  const auto killed = wait_and_reap(*sleeper);
  EXPECT_FALSE(killed.exited);
  EXPECT_EQ(killed.signal, SIGKILL);
}

TEST(Child, AProgramThatIsNotThereIsAnErrorAtOnce) {
  const auto child = Child::spawn({"/nonexistent/runner"}, {});
  ASSERT_FALSE(child);
  EXPECT_THAT(child.error().message, HasSubstr("cannot run '/nonexistent/runner': No such file"));
}

TEST(Child, HasOurEnvironmentButNotWhatChoosesAGpuAndWhatItWasGiven) {
  setenv("CUDA_VISIBLE_DEVICES", "7", 1);
  setenv("CUDA_CACHE_PATH", "/cache", 1);
  const std::string script = "echo $CUDA_VISIBLE_DEVICES,$CUDA_CACHE_PATH,$CUDA_DEVICE_ORDER >&5";
  EXPECT_EQ(output_of(script), ",/cache,\n");
  EXPECT_EQ(output_of(script, {{"CUDA_VISIBLE_DEVICES", "1"}, {"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}}),
            "1,/cache,PCI_BUS_ID\n");
  unsetenv("CUDA_VISIBLE_DEVICES");
  unsetenv("CUDA_CACHE_PATH");
}

TEST(Child, InheritsOnlyWhatItWasGiven) {
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd not_cloexec(fcntl(null.get(), F_DUPFD, 40));  // above what the shell opens for itself
  const std::string fds = output_of("for fd in /proc/self/fd/*; do echo ${fd##*/} >&5; done");
  EXPECT_THAT(fds, HasSubstr("5\n"));
  EXPECT_THAT(fds, ::testing::Not(HasSubstr(std::to_string(not_cloexec.get()) + "\n")));
}

TEST(Child, RunsInItsOwnSessionWithFreshSignals) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &blocked, nullptr), 0);
  const std::string status = output_of("grep -E 'Sig(Blk|Ign)|NSsid' /proc/self/status >&5");
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr), 0);
  EXPECT_THAT(status, HasSubstr("SigBlk:\t0000000000000000"));
  // None, or those two that the C library keeps to itself, 32 and 33.
  EXPECT_THAT(status, ::testing::AnyOf(HasSubstr("SigIgn:\t0000000000000000"),
                                       HasSubstr("SigIgn:\t0000000180000000")));
  EXPECT_THAT(status, ::testing::Not(HasSubstr(fmt::format("NSsid:\t{}\n", getsid(0)))));
}

TEST(Child, VariablesThatSpeakOfTheDaemonAreLeftOut) {
  setenv("NOTIFY_SOCKET", "/nowhere", 1);
  setenv("DEEPSERVE_TEST_VARIABLE", "kept", 1);
  const std::string variables = output_of("env >&5");
  unsetenv("NOTIFY_SOCKET");
  EXPECT_THAT(variables, HasSubstr("DEEPSERVE_TEST_VARIABLE=kept"));
  EXPECT_THAT(variables, ::testing::Not(HasSubstr("NOTIFY_SOCKET")));
}

TEST(Child, AnAdoptedProcessOfOursTellsItsStatusAndAnotherOnesDoesNot) {
  auto child = Child::spawn({"/bin/sleep", "60"}, {});
  ASSERT_TRUE(child);
  auto adopted = Child::adopt(ipc::process_identity(child->pid()).value());
  ASSERT_TRUE(adopted) << adopted.error().message;
  adopted->signal(SIGKILL);
  const auto status = wait_and_reap(*adopted);
  EXPECT_TRUE(status.known);
  EXPECT_EQ(status.signal, SIGKILL);

  // A grandchild, whose parent ends: it becomes somebody else's child.
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Fd read_end(ends[0]), write_end(ends[1]);
  const std::pair<int, int> inherited[] = {{write_end.get(), 5}};
  auto parent = Child::spawn({"/bin/sh", "-c", "sleep 60 5>&- & echo $! >&5"}, inherited);
  ASSERT_TRUE(parent);
  write_end.reset();
  char text[16] = {};
  ASSERT_GT(read(read_end.get(), text, sizeof text - 1), 0);
  wait_and_reap(*parent);
  auto orphan = Child::adopt(ipc::process_identity(std::atoi(text)).value());
  ASSERT_TRUE(orphan) << orphan.error().message;
  orphan->signal(SIGKILL);
  EXPECT_FALSE(wait_and_reap(*orphan).known);
}

TEST(Child, ALaterProcessOfTheSameNumberIsNotAdopted) {
  auto identity = ipc::process_identity(getpid()).value();
  ++identity.start_ticks;
  EXPECT_EQ(Child::adopt(identity).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace deepserve::daemon
