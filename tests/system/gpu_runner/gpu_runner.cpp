// A runner for hosts without a GPU that dsd takes for one on a GPU: ds-runner with the CPU's backend under
// kind "cuda". It notes down its environment, and fails as a device would when a test says so.
//
// DEEPSERVE_TEST_DIR/environment/PID gets its name and its environment, a variable a line.
// DEEPSERVE_TEST_DIR/faults/NAME holds a 32-bit number: of a CUDA error that its next step ends with, or -1
// for a step that never ends. It is set to 0 when it is taken.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "ipc/base/check.h"
#include "ipc/base/fd.h"
#include "runner/backend/backend.h"
#include "runner/lane/server.h"
#include "runner/serve_arguments.h"

extern char** environ;

namespace deepserve::runner {
namespace {

using Fault = std::atomic<int32_t>;

class FaultyBackend final : public Backend {
 public:
  FaultyBackend(std::unique_ptr<Backend> whole, Fault& fault) : whole_(std::move(whole)), fault_(fault) {}

  const BackendInfo& info() const override { return whole_->info(); }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    const int32_t fault = fault_.exchange(0);
    while (fault < 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    if (fault == 0) return whole_->step(batch, outputs);
    return tl::unexpected<Error>(Error{Code::kDeviceFault, "a test's fault", fault});
  }
  void copy_block(BlockId from, BlockId to) override { whole_->copy_block(from, to); }

 private:
  std::unique_ptr<Backend> whole_;
  Fault& fault_;
};

// Before the sandbox closes the file system.
Fault& fault_of(const std::string& directory, const std::string& name) {
  const Fd file(::open((directory + "/faults/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(file && ::ftruncate(file.get(), sizeof(Fault)) == 0);
  void* memory = ::mmap(nullptr, sizeof(Fault), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  CHECK(memory != MAP_FAILED);
  return *static_cast<Fault*>(memory);
}

void note_environment(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/environment/" + std::to_string(::getpid());
  {
    std::ofstream file(path + ".new");
    file << name << "\n";
    for (char** variable = environ; *variable != nullptr; ++variable) file << *variable << "\n";
  }
  std::filesystem::rename(path + ".new", path);
}

Result<int> run(std::vector<std::string> words) {
  const char* directory = std::getenv("DEEPSERVE_TEST_DIR");
  CHECK(directory != nullptr);
  TRY_ASSIGN(ServeOptions options, parse_serve_arguments(std::move(words)));
  note_environment(directory, options.name);
  Fault& fault = fault_of(directory, options.name);
  options.kind = "cpu";
  options.memory_limit_bytes.reset();
  options.replace_backend = [&fault](std::unique_ptr<Backend> whole) {
    return std::make_unique<FaultyBackend>(std::move(whole), fault);
  };
  const int status = serve(options);
  std::fflush(nullptr);
  _exit(status);
}

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  const auto status = deepserve::runner::run({words + 2, words + count});
  std::fprintf(stderr, "gpu_runner: %s\n", status.error().message.c_str());
  return 1;
}
