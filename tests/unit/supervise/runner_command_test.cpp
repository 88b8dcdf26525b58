#include "daemon/supervise/runner_command.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(RunnerCommand, SaysAllThatARunnerNeeds) {
  const ModelConfig model{.name = "tiny",
                          .aliases = {},
                          .path = "/m/tiny.gguf",
                          .devices = {"cpu0"},
                          .context_tokens = 512,
                          .kv_memory_bytes = 1024,
                          .sequences_max = 8,
                          .step_target_ns = 5'000'000,
                          .prefix_cache = PrefixCache::kOff,
                          .chat_template = "chatml"};
  const DeviceConfig device{.name = "cpu0", .kind = "cpu", .cores = {0, 1}, .memory_limit_bytes = 99};
  const auto command = runner_command("/bin/ds-runner", model, device, 3);
  EXPECT_EQ(fmt::format("{}", fmt::join(command, " ")),
            "/bin/ds-runner serve --name tiny@cpu0 --model /m/tiny.gguf --kind cpu --cores 0,1 "
            "--context-tokens 512 "
            "--kv-bytes 1024 --sequences-max 8 --step-target-ns 5000000 --prefix-cache off --epoch 3 "
            "--memory-limit 99 --chat-template chatml");
}

}  // namespace
}  // namespace deepserve::daemon
