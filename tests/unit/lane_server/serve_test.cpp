// The real ds-runner as dsd starts it: inherited descriptors, states, exit statuses.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/check.h"
#include "tests/unit/lane_server/lane_pair.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::HasSubstr;

// A child that runs ds-runner, with a lane as dsd would have made it.
class RunnerProcess {
 public:
  explicit RunnerProcess(std::vector<std::string> words, uint64_t epoch_of_lane = 1) {
    auto fds = ipc::create_lane({}, epoch_of_lane).value();
    daemon = std::make_unique<DaemonEnd>(duplicate(fds), epoch_of_lane);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    supervisor = Fd(ends[0]);
    words.insert(words.begin(), {DS_RUNNER, "serve", "--name", "test@cpu0"});
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    // Out of the way of the numbers that they are to have in the child.
    const int sources[] = {fds.to_runner.get(), fds.to_daemon.get(), fds.runner_wake.get(), fds.daemon_wake.get(), ends[1]};
    int parked[5];
    for (int i = 0; i < 5; ++i) parked[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 200);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      for (int i = 0; i < 5; ++i) dup2(parked[i], ipc::kLaneFdToRunner + i);
      execv(DS_RUNNER, arguments.data());
      _exit(127);
    }
    for (const int fd : parked) close(fd);
    close(ends[1]);
  }
  ~RunnerProcess() {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  int wait() {
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    pid = -1;
    daemon->drain();
    return status;
  }

  std::unique_ptr<DaemonEnd> daemon;
  Fd supervisor;
  pid_t pid = -1;
};

void expect_reported(RunnerProcess& runner, Code code, std::string_view words) {
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  ASSERT_FALSE(runner.daemon->states.empty());
  EXPECT_EQ(runner.daemon->states.back().phase, ipc::RunnerPhase::kFailed);
  EXPECT_EQ(runner.daemon->states.back().code, code);
  EXPECT_THAT(runner.daemon->states.back().message, HasSubstr(words));
  EXPECT_EQ(runner.daemon->lane->death_cause().kind, 3u);
  EXPECT_EQ(runner.daemon->lane->death_cause().number, static_cast<uint32_t>(code));
}

TEST(Serve, AModelThatIsNotThereIsToldAndEndsIt) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf"});
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  ASSERT_EQ(runner.daemon->states.size(), 2u);
  EXPECT_EQ(runner.daemon->states[0].phase, ipc::RunnerPhase::kLoading);
  EXPECT_EQ(runner.daemon->states[1].phase, ipc::RunnerPhase::kFailed);
  EXPECT_THAT(runner.daemon->states[1].message, HasSubstr("/nowhere/x.gguf"));
}

TEST(Serve, CudaIsRefusedByABuildWithoutIt) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf", "--kind", "cuda"});
  expect_reported(runner, Code::kNotSupported, "built without CUDA");
}

TEST(Serve, ACoreThatItMayNotUseIsNamed) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf", "--cores", "0,1023"});
  expect_reported(runner, Code::kInvalidConfig, "core 1023");
}

TEST(Serve, AnotherEpochsLaneIsNotServed) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf", "--epoch", "5"}, 4);
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  EXPECT_TRUE(runner.daemon->states.empty());
}

TEST(Serve, WithoutDescriptorsItSaysWhoStartsIt) {
  EXPECT_EXIT(
      {
        for (int fd = 3; fd < 10; ++fd) close(fd);
        execl(DS_RUNNER, DS_RUNNER, "serve", "--name", "x", "--model", "y", nullptr);
      },
      ::testing::ExitedWithCode(1), "started by dsd");
}

}  // namespace
}  // namespace deepserve::runner::testing
