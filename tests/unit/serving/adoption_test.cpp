// Lives of dsd that end by SIGKILL with real runners at work: the next one goes on with every request.
#include "daemon/serving/adoption.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include "daemon/serving/kept_request.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr int kRequests = 16;
constexpr uint32_t kTokens = 200;
constexpr int kPatience_ms = 60'000;

// Hears one request.
class Listener final : public ResponseSink {
 public:
  void on_accepted(const ipc::Accepted&) override { accepted = true; }
  void on_delta(const ipc::Delta& event) override {
    CHECK(event.index == tokens.size());
    text += event.text;
    tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  }
  void on_finished(const ipc::Finished& event) override { finished = event.last; }
  void on_refused(const Refusal& refusal) override { trouble = refusal.error.message; }
  void on_failed(const Error& error) override { trouble = error.message; }
  bool over() const { return finished || !trouble.empty(); }

  int number = 0;
  bool accepted = false;
  bool finished = false;
  std::string text;
  std::string trouble;
  std::vector<ipc::TokenId> tokens;
};

RequestSpec spec_of(int number) {
  RequestSpec spec;
  spec.client = "test";
  spec.endpoint = "completions";
  spec.prompt.text = "Once upon a time";
  spec.prompt_bytes = spec.prompt.text.size();
  spec.generation.tokens_max = kTokens;
  spec.generation.ignore_eos = true;
  spec.generation.seed = static_cast<uint64_t>(number);
  spec.deadline_ns = monotonic_ns() + 600 * kSecond_ns;
  spec.opaque = {static_cast<std::byte>(number)};
  return spec;
}

// One life of the serving side: adopts what there is, and asks for what it is told to.
class Life {
 public:
  Life(const Config& config, const std::string& directory, RequestId first_request)
      : born_ns_(monotonic_ns()),
        service_(loop_, config,
                 {.runner_binary = DS_RUNNER,
                  .rendezvous_dir = directory,
                  .first_request = first_request,
                  .on_runner_restart = {},
                  .adopt = [this](RequestId id, const RequestSpec& spec) { return adopt(id, spec); }}),
        turn_(loop_, [this] { turn(); }) {
    turn_.start(1, 1);
  }

  // Turns until `done` holds; false when patience ran out.
  bool run_until(std::function<bool()> done) {
    done_ = std::move(done);
    limit_ns_ = monotonic_ns() + uint64_t{kPatience_ms} * kMillisecond_ns;
    loop_.run();
    return std::exchange(done_, nullptr)();
  }
  void ask(int number) { service_.start(spec_of(number), asked[number]); }
  void stop() {
    bool gone = false;
    service_.stop_runners([&gone] { gone = true; });
    CHECK(run_until([&gone] { return gone; }));
  }
  Service& service() { return service_; }
  bool ready() const { return service_.ready(); }

  std::map<int, Listener> asked;
  std::map<RequestId, Listener> adopted;
  uint64_t adopted_within_ns = 0;  // of its birth: all that it took over

 private:
  ResponseSink* adopt(RequestId id, const RequestSpec& spec) {
    CHECK(spec.opaque.size() == 1 && spec.client == "test");
    adopted_within_ns = monotonic_ns() - born_ns_;
    adopted[id].number = std::to_integer<int>(spec.opaque[0]);
    return &adopted[id];
  }
  void turn() {
    if (done_ && (done_() || monotonic_ns() > limit_ns_)) loop_.stop();
  }

  const uint64_t born_ns_;
  uint64_t limit_ns_ = 0;
  std::function<bool()> done_;
  Loop loop_;
  Service service_;
  Timer turn_;
};

// What a process holds: descriptors, and pages mapped and resident.
struct Holdings {
  size_t fds = 0;
  size_t pages = 0;
  size_t resident_pages = 0;
};

Holdings holdings_of(pid_t pid) {
  const std::string process = "/proc/" + std::to_string(pid);
  Holdings holdings;
  for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator(process + "/fd"))
    ++holdings.fds;
  std::ifstream(process + "/statm") >> holdings.pages >> holdings.resident_pages;
  return holdings;
}

std::string made_directory() {
  std::string pattern = std::filesystem::temp_directory_path() / "deepserve-adoption-XXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr);
  return pattern;
}

class AdoptionByService : public ::testing::Test {
 protected:
  AdoptionByService() { std::filesystem::create_directory(runners_); }
  ~AdoptionByService() override { std::filesystem::remove_all(directory_); }

  Config config(const std::string& devices = "\"cpu0\"", const std::string& more = "",
                const std::string& kv_memory = "64MiB") {
    std::ofstream(directory_ + "/deepserve.toml")
        << "[supervise]\norphan_limit = \"20s\"\n"
        << "[[device]]\nname = \"cpu0\"\nkind = \"cpu\"\n[[device]]\nname = \"cpu1\"\nkind = \"cpu\"\n"
        << "[[model]]\nname = \"tiny\"\npath = \"" << BUILTIN_MODEL << "\"\nkv_memory = \"" << kv_memory
        << "\"\n"
        << "devices = [" << devices << "]\n"
        << more;
    const ConfigSurroundings here{directory_ + "/run", directory_ + "/state", {0}};
    auto loaded = load_config(directory_ + "/deepserve.toml", here);
    CHECK(loaded.has_value());
    return std::move(*loaded);
  }

  // A life in a process of its own, until all that it adopted and asked for has `tokens` tokens; then it is
  // killed. Gives the pids of its runners.
  std::vector<pid_t> killed_life(const Config& config, RequestId first_request, size_t tokens, int asks) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    const Fd told(ends[0]);
    Fd tell(ends[1]);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) live(config, first_request, tokens, asks, tell.get());
    tell.reset();
    pollfd entry{told.get(), POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, kPatience_ms), 1);
    std::array<pid_t, 8> pids{};
    const ssize_t got = read(told.get(), pids.data(), sizeof pids);
    if (got > 0) held_ = holdings_of(pids[0]);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    EXPECT_GT(got, 0) << "the life ended by itself";
    return {pids.begin(), pids.begin() + std::max<ssize_t>(0, got) / static_cast<ssize_t>(sizeof(pid_t))};
  }

  Holdings held_;  // by the first runner when the last life was killed
  const std::string directory_ = made_directory();
  const std::string runners_ = directory_ + "/runners";  // of this test alone: a life ends all there

 private:
  [[noreturn]] void live(const Config& config, RequestId first_request, size_t tokens, int asks, int tell) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Life life(config, runners_, first_request);
    CHECK(life.run_until([&] { return life.ready(); }));
    for (int number = 0; number < asks; ++number) life.ask(number);
    CHECK(life.run_until([&] {
      return std::ranges::all_of(life.asked,
                                 [=](const auto& one) { return one.second.tokens.size() >= tokens; });
    }));
    std::vector<pid_t> pids;
    for (const auto& row : life.service().runners()) {
      for (const auto& rank : row.ranks) pids.push_back(static_cast<pid_t>(rank.pid));
    }
    CHECK(write(tell, pids.data(), pids.size() * sizeof(pid_t)) > 0);
    life.run_until([] { return false; });
    _exit(1);
  }
};

std::vector<pid_t> pids_of(const Life& life) {
  std::vector<pid_t> pids;
  for (const auto& row : const_cast<Life&>(life).service().runners()) {
    for (const auto& rank : row.ranks) pids.push_back(static_cast<pid_t>(rank.pid));
  }
  return pids;
}

void expect_all_go_on(Life& life) {
  ASSERT_TRUE(life.run_until([&] {
    return life.adopted.size() == kRequests &&
           std::ranges::all_of(life.adopted, [](const auto& one) { return one.second.over(); });
  })) << life.adopted.size();
  for (int number = 0; number < kRequests; ++number) life.ask(number);
  ASSERT_TRUE(life.run_until(
      [&] { return std::ranges::all_of(life.asked, [](const auto& one) { return one.second.over(); }); }));
  for (const auto& [id, one] : life.adopted) {
    EXPECT_EQ(one.trouble, "");
    EXPECT_EQ(one.tokens, life.asked[one.number].tokens) << one.number;
    EXPECT_EQ(one.text, life.asked[one.number].text) << one.number;
    EXPECT_EQ(one.tokens.size(), kTokens);
  }
  EXPECT_LE(life.adopted_within_ns, kSecond_ns);
  std::printf("all %d requests taken over within %.0f ms\n", kRequests,
              static_cast<double>(life.adopted_within_ns) * 1e-6);
}

// A process that waits for its end; with a hello it waits as a runner does whose dsd is gone.
class Bystander {
 public:
  Bystander() : pid_(fork()) {
    CHECK(pid_ >= 0);
    if (pid_ == 0) wait_for_the_end();
  }
  Bystander(ipc::RunnerHello hello, int group_fd, const std::string& runners) {
    const std::string path = runners + "/new";
    const Fd rendezvous = ipc::listen_at_rendezvous(path).value();
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      hello.process = ipc::own_identity().value();
      pollfd knocks{rendezvous.get(), POLLIN, 0};
      CHECK(poll(&knocks, 1, kPatience_ms) == 1);
      const Fd connection = ipc::accept_daemon(rendezvous.get());
      CHECK(ipc::send_hello(connection.get(), hello, group_fd).has_value());
      wait_for_the_end();
    }
    std::filesystem::rename(path, runners + "/" + rendezvous_name(ipc::process_identity(pid_).value()));
  }
  ~Bystander() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  bool has_ended() const {
    siginfo_t ended{};  // none where Service has taken its status
    return waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           ended.si_pid != 0;
  }

 private:
  [[noreturn]] static void wait_for_the_end() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) pause();
  }
  pid_t pid_ = -1;
};

ipc::RunnerHello hello_of(const Config& config, uint64_t epoch) {
  const auto groups = device_groups(config.models[0]);
  auto command = runner_command(DS_RUNNER, runner_id(config.models[0], groups[0]), config.models[0],
                                groups[0], 0, epoch);
  command.insert(command.end(), {"--orphan-limit-ns", "1"});
  ipc::RunnerHello hello;
  hello.epoch = epoch;
  hello.command.assign(command.begin() + kProgramWords, command.end());
  return hello;
}

TEST_F(AdoptionByService, EveryRequestGoesOnByteForByteAndTheRunnersAreTheSame) {
  const Config config = this->config("\"cpu0\", \"cpu1\"");
  const auto pids = killed_life(config, 1, 10, kRequests);
  ASSERT_EQ(pids.size(), 2u);
  Life life(config, runners_, 1'000);
  expect_all_go_on(life);
  EXPECT_EQ(pids_of(life), pids);
  for (const auto& row : life.service().runners()) EXPECT_EQ(row.restarts, 0u);
  life.stop();
  EXPECT_TRUE(std::filesystem::is_empty(runners_));
}

TEST_F(AdoptionByService, ARankGroupIsTakenOverAsOne) {
  const Config config = this->config("\"cpu0\", \"cpu1\"", "tensor_parallel = 2\n");
  const auto pids = killed_life(config, 1, 10, kRequests);
  ASSERT_EQ(pids.size(), 2u);
  Life life(config, runners_, 1'000);
  expect_all_go_on(life);
  EXPECT_EQ(pids_of(life), pids);
  // One rank's death ends the group, as of one that this life started.
  kill(pids[1], SIGKILL);
  ASSERT_TRUE(life.run_until([&] { return life.service().runners()[0].restarts == 1 && life.ready(); }));
  EXPECT_NE(pids_of(life), pids);
  life.stop();
}

TEST_F(AdoptionByService, AnAdoptedRunnersDeathIsFollowedByARestartAndItsRequestsGoOn) {
  const Config config = this->config();
  const auto pids = killed_life(config, 1, 10, kRequests);
  Life life(config, runners_, 1'000);
  ASSERT_TRUE(life.run_until([&] { return life.adopted.size() == kRequests && life.ready(); }));
  kill(pids.at(0), SIGKILL);
  expect_all_go_on(life);
  EXPECT_EQ(life.service().runners()[0].restarts, 1u);
  life.stop();
}

// As dsd hands it over in an upgrade. Here it had told more than the runner has in its log, all of the
// answer, so that nothing else can have brought it.
TEST_F(AdoptionByService, WhatTheDsdBeforeHadToldIsGoneOnFromWhenTheRunnerDiesWhileItTellsThatAgain) {
  const Config config = this->config();
  std::vector<ipc::TokenId> whole;
  {
    Life undisturbed(config, runners_, 1);
    ASSERT_TRUE(undisturbed.run_until([&] { return undisturbed.ready(); }));
    undisturbed.ask(0);
    ASSERT_TRUE(undisturbed.run_until([&] { return undisturbed.asked[0].over(); }));
    whole = undisturbed.asked[0].tokens;
    undisturbed.stop();
  }
  const auto pids = killed_life(config, 1, 10, 1);
  Life life(config, runners_, 1'000);
  const RequestSpec spec = spec_of(0);
  ipc::Submit told;
  told.request = 1;
  told.opaque = encode_kept(spec, monotonic_ns(), {});
  told.resumed = {{0, whole}};
  life.service().take_over({Service::RunningRequest{1, life.service().runners()[0].id, ipc::Accepted{1, 5, 0},
                                                    told.encode(), true}});
  ASSERT_TRUE(life.run_until([&] { return life.adopted.size() == 1; }));
  EXPECT_TRUE(life.adopted[1].accepted);
  const auto running = life.service().running();
  ASSERT_EQ(running.size(), 1u);
  EXPECT_TRUE(running[0].accepted);
  const auto handed = ipc::Submit::decode(running[0].submit);
  ASSERT_TRUE(handed);
  EXPECT_EQ(handed->resumed.at(0).tokens, whole);
  EXPECT_FALSE(handed->has_unheard()) << "an older dsd could not read it";
  kill(pids.at(0), SIGKILL);
  ASSERT_TRUE(life.run_until([&] { return life.adopted[1].over(); }));
  EXPECT_EQ(life.adopted[1].trouble, "");
  EXPECT_EQ(life.adopted[1].tokens, whole);
  life.stop();
}

TEST_F(AdoptionByService, ARunnerThatTheConfigurationDoesNotAskForIsEnded) {
  const auto pids = killed_life(config(), 1, 1, 1);
  const Config other = config("\"cpu1\"");
  Life life(other, runners_, 1'000);
  ASSERT_TRUE(life.run_until([&] { return life.ready(); }));
  EXPECT_NE(pids_of(life), pids);
  EXPECT_TRUE(life.adopted.empty());
  std::ifstream file("/proc/" + std::to_string(pids.at(0)) + "/stat");
  std::string text;
  const bool is_there = static_cast<bool>(std::getline(file, text));
  EXPECT_TRUE(!is_there || text.find(") Z") != std::string::npos) << text;
  life.stop();
}

TEST_F(AdoptionByService, ARunnerThatIsOursAndUnwantedIsReaped) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // the runner becomes our child when its dsd dies, as after an upgrade
  const auto pids = killed_life(config(), 1, 1, 1);
  const Config other = config("\"cpu1\"");
  Life life(other, runners_, 1'000);
  const std::string process = "/proc/" + std::to_string(pids.at(0));
  EXPECT_TRUE(life.run_until([&] { return life.ready() && !std::filesystem::exists(process); }));
  life.stop();
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(AdoptionByService, ARunnerThatIsStoppedIsEndedWhenItDoesNotAnswer) {
  const Config config = this->config("\"cpu0\"", "[[client]]\nname = \"x\"\nuid = 1\n");
  const auto pids = killed_life(config, 1, 1, 1);
  kill(pids.at(0), SIGSTOP);
  Config impatient = config;
  impatient.supervise.hang_after_ns = kSecond_ns;
  Life life(impatient, runners_, 1'000);
  ASSERT_TRUE(life.run_until([&] { return life.ready(); }));
  EXPECT_NE(pids_of(life), pids);
  life.stop();
}

TEST_F(AdoptionByService, ARunnerThatCallsAnInnocentProcessItsRankIsEndedAlone) {
  const Config config = this->config("\"cpu0\", \"cpu1\"", "tensor_parallel = 2\n");
  const Fd group = ipc::create_group_memory({.ranks = 2, .generation = 1}).value();
  const Bystander innocent;
  ipc::GroupMemory::map(group, 1).value()->words(1).pid.store(static_cast<uint32_t>(innocent.pid()));
  const Bystander liar(hello_of(config, 1), group.get(), runners_);
  Life life(config, runners_, 1'000);
  EXPECT_TRUE(life.run_until([&] { return life.ready() && liar.has_ended(); }));
  EXPECT_FALSE(innocent.has_ended());
  life.stop();
}

TEST_F(AdoptionByService, AnEpochThatNoneCanFollowEndsItsRunnerAndNotThoseAfterIt) {
  const Config config = this->config();
  for (const uint64_t epoch : {(uint64_t{1} << ipc::kEpochBits) - 1, ~uint64_t{0}}) {
    const Bystander liar(hello_of(config, epoch), -1, runners_);
    Life life(config, runners_, 1'000);
    EXPECT_TRUE(life.run_until([&] { return life.ready() && liar.has_ended(); })) << epoch;
    life.stop();
  }
}

TEST_F(AdoptionByService, TenKillsInARowLeaveTheRunnerAsItWas) {
  constexpr size_t kLaneDirectionPages = RunnerLink::kLaneBytes / 4096;
  const Config config = this->config("\"cpu0\"", "", "4MiB");  // a KV cache that is soon touched everywhere
  std::vector<pid_t> pids;
  Holdings before;
  for (RequestId round = 1; round <= 10; ++round) {
    const auto now = killed_life(config, round * 1'000, 5, 4);
    ASSERT_EQ(now.size(), 1u);
    if (round == 1) pids = now;
    EXPECT_EQ(now, pids) << round;
    if (round == 4) before = held_;
  }
  std::printf("after 4 and 10 kills: descriptors %zu, %zu; mapped pages %zu, %zu; resident %zu, %zu\n",
              before.fds, held_.fds, before.pages, held_.pages, before.resident_pages, held_.resident_pages);
  EXPECT_EQ(held_.fds, before.fds);
  EXPECT_LT(held_.pages, before.pages + kLaneDirectionPages) << "a lane is still mapped";
  EXPECT_LE(held_.resident_pages, before.resident_pages + before.resident_pages / 10);
  Life life(config, runners_, 100'000);
  ASSERT_TRUE(life.run_until([&] { return life.ready(); }));
  life.stop();
}

}  // namespace
}  // namespace deepserve::daemon
