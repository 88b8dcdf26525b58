// A runner's main loop in the test's hands, and the daemons that come to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "ipc/base/check.h"
#include "ipc/lane/wake.h"
#include "runner/lane/message_loop.h"
#include "tests/unit/engine/fakes.h"
#include "tests/unit/lane_server/lane_pair.h"

namespace deepserve::runner::testing {

// A runner's loop on a thread of its own, over a fake device, and the daemon's end of its lane.
class LoopTest : public ::testing::Test {
 protected:
  void start(Model model, const ipc::LaneSizes& sizes = {}, DaemonLinkOptions options = {}) {
    auto fds = ipc::create_lane(sizes, 1).value();
    daemon.emplace(duplicate(fds));
    auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    supervisor = Fd(ends[0]);
    supervisor_of_runner = Fd(ends[1]);
    backend.emplace(std::move(model), shape);
    drawing.emplace(*backend, runs_ahead);
    drawing->step_time = step_time;
    link.emplace(std::move(lane), supervisor_of_runner.get(), std::move(options));
    thread = std::thread([this] {
      LaneSink sink(link->lane());
      Backend& device = runs_ahead ? static_cast<Backend&>(*drawing) : *backend;
      engine_options.check_blocks = true;
      auto engine = Engine::make(device, tokenizer, kNoChat, engine_options, sink).value();
      ipc::RunnerState ready;
      ready.phase = ipc::RunnerPhase::kReady;
      MessageLoop loop(*link, sink, *engine, tokenizer, kNoChat, ready, orphan_limit_ns, terminate);
      end = loop.run();
      link->lane().flush();
    });
  }
  // A runner that a next daemon may come to.
  void start_adoptable(Model model, const ipc::LaneSizes& sizes = {}) {
    ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
    DaemonLinkOptions options{.command = {"--name", "test"}};
    options.rendezvous = ipc::listen_at_rendezvous(rendezvous).value();
    options.process = {.pid = 1, .start_ticks = 2};
    start(std::move(model), sizes, std::move(options));
  }
  void lose_daemon() {
    supervisor.reset();
    daemon.reset();
  }
  // The hello of the runner that waits there.
  ipc::Introduction knock() {
    supervisor = ipc::connect_to_rendezvous(rendezvous).value();
    for (const uint64_t begin_ns = monotonic_ns(); monotonic_ns() - begin_ns < kPatience_ns;) {
      ipc::wait_readable(supervisor.get(), -1, 10 * kMillisecond_ns);
      auto heard = ipc::receive_hello(supervisor.get()).value();
      if (heard) return std::move(*heard);
    }
    CHECK(false);
  }
  void adopt(uint64_t epoch) {
    const auto fds = ipc::create_lane({}, epoch).value();
    daemon.emplace(duplicate(fds), epoch);
    ASSERT_TRUE(ipc::send_lane(supervisor.get(), epoch, fds));
  }
  void control(ipc::ControlKind kind) { daemon->send(ipc::Control{kind}, ipc::MessageType::kControl); }
  LoopEnd join() {
    thread.join();
    return end->value();
  }
  void TearDown() override {
    supervisor.reset();  // whatever the test did, this ends the loop
    terminate = 1;
    if (thread.joinable()) thread.join();
    std::filesystem::remove_all(folder);
  }

  const std::string folder = ::testing::TempDir() + "loop_" + std::to_string(getpid());
  const std::string rendezvous = folder + "/" + std::string(40, 'r') + ".sock";
  FakeTokenizer tokenizer;
  std::optional<FakeBackend> backend;
  bool runs_ahead = false;
  std::chrono::microseconds step_time{};  // where it does
  EngineOptions engine_options;
  FakeBackend::Shape shape;
  std::optional<DrawingBackend> drawing;
  std::optional<DaemonEnd> daemon;
  std::optional<DaemonLink> link;
  uint64_t orphan_limit_ns = 30 * kSecond_ns;
  Fd supervisor, supervisor_of_runner;
  volatile std::sig_atomic_t terminate = 0;
  std::optional<Result<LoopEnd>> end;
  std::thread thread;
};

}  // namespace deepserve::runner::testing
