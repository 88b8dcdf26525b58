// Each in a child of its own: a sandbox cannot be left.
#include "runner/lane/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <thread>

namespace deepserve::runner {
namespace {

using ::testing::ExitedWithCode;

constexpr int kAsItShould = 0;

struct ModelFile {
  ModelFile() {
    std::ofstream(path) << "model";
    std::ofstream(other_path) << "another shard";
  }
  ~ModelFile() {
    std::remove(path.c_str());
    std::remove(other_path.c_str());
  }
  std::string path = ::testing::TempDir() + "sandbox_model_" + std::to_string(getpid());
  std::string other_path = path + "_2";
};

// Enters the sandbox and exits with kAsItShould when `claim` holds, or when the kernel has no `part` of it.
template <typename Claim>
[[noreturn]] void claim_inside(const ModelFile& model, std::string_view part, Claim claim) {
  const std::filesystem::path readable[] = {model.path, model.other_path};
  const std::string holds = enter_sandbox(readable);
  if (holds.find(part) == std::string::npos) {
    std::fprintf(stderr, "this kernel has only: %s\n", holds.c_str());
    _exit(kAsItShould);
  }
  _exit(claim() ? kAsItShould : 1);
}

TEST(Sandbox, ThereAreNoSockets) {
  const ModelFile model;
  EXPECT_EXIT(
      claim_inside(model, "seccomp", [] { return socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM; }),
      ExitedWithCode(kAsItShould), "");
}

TEST(Sandbox, ThereAreNoOtherProcessesOrPrograms) {
  const ModelFile model;
  EXPECT_EXIT(claim_inside(model, "seccomp",
                           [] {
                             char* words[] = {nullptr};
                             return fork() == -1 && execve("/bin/true", words, words) == -1 &&
                                    errno == EPERM && ptrace(PTRACE_TRACEME, 0, 0, 0) == -1;
                           }),
              ExitedWithCode(kAsItShould), "");
}

TEST(Sandbox, ThreadsAndMemoryWork) {
  const ModelFile model;
  EXPECT_EXIT(claim_inside(model, "no_new_privs",
                           [] {
                             int sum = 0;
                             std::thread([&sum] {
                               sum = static_cast<int>(std::vector<int>(1 << 20, 1).size());
                             }).join();
                             return sum == 1 << 20;
                           }),
              ExitedWithCode(kAsItShould), "");
}

TEST(Sandbox, TheModelCanBeReadAndNothingElse) {
  const ModelFile model;
  EXPECT_EXIT(claim_inside(model, "landlock",
                           [&] {
                             return open(model.path.c_str(), O_RDONLY) >= 0 &&
                                    open(model.other_path.c_str(), O_RDONLY) >= 0 &&
                                    open(model.path.c_str(), O_RDWR) == -1 &&
                                    open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES;
                           }),
              ExitedWithCode(kAsItShould), "");
}

TEST(Sandbox, WhatADevicesDriverOpensCanBeWrittenToo) {
  const ModelFile model;
  const auto claim = [&model] {
    const std::filesystem::path readable[] = {model.path}, writable[] = {model.other_path, "/no/such/device"};
    const std::string holds = enter_sandbox(readable, writable);
    if (holds.find("landlock") == std::string::npos) _exit(kAsItShould);
    const bool holds_true = open(model.other_path.c_str(), O_RDWR) >= 0 &&
                            open(model.path.c_str(), O_RDONLY) >= 0 &&
                            open(model.path.c_str(), O_RDWR) == -1 && errno == EACCES;
    _exit(holds_true ? kAsItShould : 1);
  };
  EXPECT_EXIT(claim(), ExitedWithCode(kAsItShould), "");
}

}  // namespace
}  // namespace deepserve::runner
