// The real ds-runner as dsd starts it: inherited descriptors, states, exit statuses.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>

#include "ipc/base/check.h"
#include "tests/unit/lane_server/lane_pair.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::HasSubstr;

// A child that runs ds-runner, with a lane as dsd would have made it.
class RunnerProcess {
 public:
  explicit RunnerProcess(
      std::vector<std::string> words, uint64_t epoch_of_lane = 1, void (*before_exec)() = [] {}) {
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
    const int sources[] = {fds.to_runner.get(), fds.to_daemon.get(), fds.runner_wake.get(),
                           fds.daemon_wake.get(), ends[1]};
    log = Fd(memfd_create("runner's log", MFD_CLOEXEC));
    int parked[5];
    for (int i = 0; i < 5; ++i) parked[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 200);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      for (int i = 0; i < 5; ++i) dup2(parked[i], ipc::kLaneFdToRunner + i);
      dup2(log.get(), STDERR_FILENO);
      before_exec();
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
    if (::testing::Test::HasFailure()) std::cerr << log_text();
  }
  std::string log_text() const {
    std::string text(static_cast<size_t>(lseek(log.get(), 0, SEEK_END)), '\0');
    CHECK(pread(log.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    return text;
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
  Fd log;
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
#ifdef DEEPSERVE_WITH_CUDA
  GTEST_SKIP() << "this build has CUDA";
#endif
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

TEST(Serve, ARankWithoutAGroupIsNotServed) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf", "--ranks", "2", "--rank", "1"});
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  EXPECT_THAT(runner.log_text(), HasSubstr("descriptor 8 is not open"));
  EXPECT_TRUE(runner.daemon->states.empty());
}

TEST(Serve, Rank0WithoutAGroupSaysSo) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf", "--ranks", "2"});
  expect_reported(runner, Code::kBadLane, "descriptor 8 is not open");
}

TEST(Serve, SigtermBeforeItIsReadyIsNoCleanEnd) {
  RunnerProcess runner({"--model", "/nowhere/x.gguf"}, 1, [] {  // pending from the first instruction on
    sigset_t terminating;
    sigemptyset(&terminating);
    sigaddset(&terminating, SIGTERM);
    sigprocmask(SIG_BLOCK, &terminating, nullptr);
    raise(SIGTERM);
  });
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 4) << status;
}

// A runner of a small random model, from its start on.
class ServeModel : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(runner.daemon->wait_until([&] { return is_ready() || failed(); }));
    ASSERT_FALSE(failed()) << runner.daemon->states.back().message;
  }
  bool is_ready() const { return phase() == ipc::RunnerPhase::kReady; }
  bool failed() const { return phase() == ipc::RunnerPhase::kFailed; }
  ipc::RunnerPhase phase() const {
    return runner.daemon->states.empty() ? ipc::RunnerPhase::kLoading : runner.daemon->states.back().phase;
  }
  void submit(ipc::RequestId id, uint32_t tokens_max) {
    ipc::Submit submit;
    submit.request = id;
    submit.prompt.kind = ipc::PromptKind::kTokens;
    submit.prompt.tokens = {5, 6, 7};
    submit.generation.tokens_max = tokens_max;
    submit.generation.ignore_eos = true;
    runner.daemon->submit(submit);
  }
  void expect_exit(int wanted) {
    const int status = runner.wait();
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), wanted);
  }

  TemporaryFile model{TinyModel{}.gguf()};
  RunnerProcess runner{{"--model", model.path(), "--kv-bytes", "1048576", "--context-tokens", "128",
                        "--sequences-max", "4", "--epoch", "1"}};
};

TEST_F(ServeModel, ItLoadsWarmsUpAndIsReadyWithAllItsFacts) {
  const auto& states = runner.daemon->states;
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[0].phase, ipc::RunnerPhase::kLoading);
  EXPECT_EQ(states[1].phase, ipc::RunnerPhase::kWarming);
  EXPECT_EQ(states[2].architecture, "llama");
  EXPECT_EQ(states[2].vocabulary, 50u);
  EXPECT_EQ(states[2].context_tokens, 128u);
  EXPECT_EQ(states[2].context_tokens_model, 256u);
  EXPECT_EQ(states[2].sequences_max, 4u);
  EXPECT_EQ(states[2].chat_template, "none");
  EXPECT_FALSE(states[2].numerics_id.empty());
  EXPECT_GT(states[2].kv_blocks, 0u);
  EXPECT_GT(runner.daemon->lane->progress().bytes_loaded, 0u);
  EXPECT_EQ(runner.daemon->lane->read_gauges().kv_blocks_total, states[2].kv_blocks);
}

TEST_F(ServeModel, ItAnswersAndExitsWhenToldTo) {
  submit(1, 20);
  ASSERT_TRUE(runner.daemon->wait_until([&] { return runner.daemon->finished.contains(1); }));
  EXPECT_EQ(runner.daemon->tokens[1].size(), 20u);
  runner.daemon->send(ipc::Control{ipc::ControlKind::kExit}, ipc::MessageType::kControl);
  expect_exit(0);
  EXPECT_EQ(runner.daemon->lane->death_cause().kind, 0u);
}

TEST_F(ServeModel, SigtermFinishesWhatRunsAndEndsWithZero) {
  submit(1, 100);
  ASSERT_TRUE(runner.daemon->wait_until([&] { return !runner.daemon->accepted.empty(); }));
  kill(runner.pid, SIGTERM);
  expect_exit(0);
  EXPECT_EQ(runner.daemon->tokens[1].size(), 100u);
  EXPECT_EQ(phase(), ipc::RunnerPhase::kDrained);
}

TEST_F(ServeModel, WhenTheSupervisorHasGoneItEndsWithThree) {
  runner.supervisor.reset();
  expect_exit(3);
}

TEST_F(ServeModel, AFatalSignalFromOutsideIsItsCauseOfDeath) {
  kill(runner.pid, SIGSEGV);
  const int status = runner.wait();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  EXPECT_EQ(runner.daemon->lane->death_cause().kind, 1u);
}

TEST_F(ServeModel, AModelFileThatIsCutUnderItIsNamedAsTheCause) {
  std::filesystem::resize_file(model.path(), 100);
  submit(1, 20);
  const int status = runner.wait();
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(runner.daemon->lane->death_cause().kind, 4u);
}

TEST_F(ServeModel, MemoryBeyondItsLimitEndsItWithThatReason) {
  if (kSanitized) GTEST_SKIP() << "no memory limits under a sanitizer";
  RunnerProcess limited({"--model", model.path(), "--kv-bytes", "1073741824", "--memory-limit", "100000000"});
  expect_reported(limited, Code::kInvalidConfig, "a KV cache of 1073");
}

// One core, so that few threads take stacks of it.
std::vector<std::string> limited_to(const char* bytes, const std::string& model) {
  cpu_set_t usable;
  CHECK(sched_getaffinity(0, sizeof usable, &usable) == 0);
  int core = 0;
  while (!CPU_ISSET(core, &usable)) ++core;
  return {"--model",    model,     "--cores",        std::to_string(core),
          "--kv-bytes", "1048576", "--memory-limit", bytes};
}

TEST(Serve, PackedWeightsBeyondTheLimitAreRefusedWithTheSizes) {
  if (kSanitized) GTEST_SKIP() << "no memory limits under a sanitizer";
  const TemporaryFile model(TinyModel{
      .type = kernels::WeightType::kQ8_0, .vocabulary = 32'768, .layers = 1, .embedding = 1024, .tied = true}
                                .gguf());
  RunnerProcess runner(limited_to("48000000", model.path()));
  expect_reported(runner, Code::kInvalidConfig, "bytes of packed weights beside a KV cache of 10");
  EXPECT_THAT(runner.daemon->states.back().message, HasSubstr("; memory_limit is 48000000 bytes"));
}

TEST(Serve, ALimitWithoutRoomForAThreadEndsItWithThatReason) {
  if (kSanitized) GTEST_SKIP() << "no memory limits under a sanitizer";
  const TemporaryFile model(TinyModel{}.gguf());
  RunnerProcess runner(limited_to("8000000", model.path()));
  const int status = runner.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  const ipc::DeathCause cause = runner.daemon->lane->death_cause();
  EXPECT_EQ(cause.kind, 3u);
  EXPECT_EQ(cause.number, static_cast<uint32_t>(Code::kOutOfMemory));
  EXPECT_STREQ(cause.text.data(), "out of memory: memory_limit is 8000000 bytes");
}

TEST_F(ServeModel, AChatThatItHasNoTemplateForHearsWhyAndHowToNameOne) {
  ipc::Submit submit;
  submit.request = 1;
  submit.prompt.kind = ipc::PromptKind::kChat;
  submit.prompt.chat = {{"user", "hi"}};
  runner.daemon->submit(submit);
  ASSERT_TRUE(runner.daemon->wait_until([&] { return runner.daemon->failed.contains(1); }));
  EXPECT_EQ(runner.daemon->failed[1].code, Code::kNotSupported);
  EXPECT_THAT(runner.daemon->failed[1].message,
              AllOf(HasSubstr("carries no chat template"), HasSubstr("chat_template = \"chatml\"")));
}

TEST_F(ServeModel, MoreSequencesThanAStepHoldsAreLoweredWithAWarning) {
  RunnerProcess crowded({"--model", model.path(), "--kv-bytes", "1048576", "--sequences-max", "1000"});
  ASSERT_TRUE(crowded.daemon->wait_until([&] {
    return !crowded.daemon->states.empty() && crowded.daemon->states.back().phase == ipc::RunnerPhase::kReady;
  }));
  EXPECT_EQ(crowded.daemon->states.back().sequences_max, 512u);
  EXPECT_THAT(crowded.log_text(), HasSubstr("sequences_max = 1000 is lowered to 512"));
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
