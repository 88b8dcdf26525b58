// ds-runner, but that each of its processes writes to an illegal address on its GPU after
// DEEPSERVE_FAULT_STEPS steps. Only `serve`.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "ipc/base/check.h"
#include "runner/backend/backend.h"
#include "runner/lane/server.h"
#include "runner/serve_arguments.h"
#include "tests/gpu/serving/illegal_address.h"

namespace deepserve::runner {
namespace {

class FaultyBackend final : public Backend {
 public:
  FaultyBackend(std::unique_ptr<Backend> whole, int steps) : whole_(std::move(whole)), steps_(steps) {}

  const BackendInfo& info() const override { return whole_->info(); }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    TRY(start(batch, outputs));
    return finish();
  }
  Result<void> start(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    if (steps_-- == 0) write_to_illegal_address();
    return whole_->start(batch, outputs);
  }
  Result<void> finish() override { return whole_->finish(); }
  bool is_over() const override { return whole_->is_over(); }
  double device_seconds() const override { return whole_->device_seconds(); }
  void copy_block(BlockId from, BlockId to) override { whole_->copy_block(from, to); }

 private:
  std::unique_ptr<Backend> whole_;
  int steps_;
};

Result<int> run(std::vector<std::string> words) {
  const char* steps = std::getenv("DEEPSERVE_FAULT_STEPS");
  CHECK(steps != nullptr);
  TRY_ASSIGN(ServeOptions options, parse_serve_arguments(std::move(words)));
  options.replace_backend = [steps](std::unique_ptr<Backend> whole) {
    return std::make_unique<FaultyBackend>(std::move(whole), std::atoi(steps));
  };
  return serve(options);
}

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  const auto status = deepserve::runner::run({words + 2, words + count});
  if (status) return *status;
  std::fprintf(stderr, "fault_runner: %s\n", status.error().message.c_str());
  return 1;
}
