#include "daemon/supervise/runner_command.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(RunnerCommand, SaysAllThatARunnerNeeds) {
  const DeviceConfig device{.name = "cpu0", .kind = "cpu", .cores = {0, 1}, .memory_limit_bytes = 99};
  const ModelConfig model{.name = "tiny",
                          .aliases = {},
                          .path = "/m/tiny.gguf",
                          .devices = {device},
                          .tensor_parallel = 1,
                          .context_tokens = 512,
                          .kv_memory_bytes = 1024,
                          .kv_type = "q8",
                          .sequences_max = 8,
                          .step_target_ns = 5'000'000,
                          .step_max_ns = 60'000'000,
                          .prefix_cache = PrefixCache::kOff,
                          .chat_template = "chatml",
                          .speculation = "off",
                          .fallback = {},
                          .fallback_reply = {}};
  const auto command = runner_command("/bin/ds-runner", "tiny@cpu0", model, {device}, 0, 3);
  EXPECT_EQ(fmt::format("{}", fmt::join(command, " ")),
            "/bin/ds-runner serve --name tiny@cpu0 --model /m/tiny.gguf --kind cpu --cores 0,1 "
            "--context-tokens 512 "
            "--kv-bytes 1024 --kv-type q8 --sequences-max 8 --step-target-ns 5000000 --step-max-ns 60000000 "
            "--prefix-cache off --epoch 3 --memory-limit 99 --chat-template chatml --speculation off");
}

TEST(RunnerCommand, WhatIsAsAlwaysIsNotSaidSoThatEarlierBuildsRunnersAreTheSame) {
  ModelConfig model;
  DeviceConfig device{.name = "gpu0", .kind = "cuda", .cores = {0}};
  const auto text = [&] {
    return fmt::format("{}", fmt::join(runner_command("r", "m@d", model, {device}, 0, 3), " "));
  };
  EXPECT_EQ(text().find("--deterministic"), std::string::npos);
  EXPECT_EQ(text().find("--allow-jit"), std::string::npos);
  model.deterministic = false;
  device.allow_jit = true;
  EXPECT_NE(text().find("--deterministic off --allow-jit on"), std::string::npos);
}

TEST(RunnerCommand, OfARankHasItsDevicesCoresAndItsNumber) {
  ModelConfig model;
  model.name = "large";
  model.path = "/m/large.gguf";
  DeviceConfig first{.name = "cpu0", .kind = "cpu", .cores = {0}};
  DeviceConfig second{.name = "cpu1", .kind = "cpu", .cores = {1, 2}};
  const auto text = fmt::format(
      "{}",
      fmt::join(runner_command("r", runner_id(model, {first, second}), model, {first, second}, 1, 3), " "));
  EXPECT_NE(text.find("--name large@cpu0+cpu1 "), std::string::npos);
  EXPECT_NE(text.find("--cores 1,2 "), std::string::npos);
  EXPECT_NE(text.find("--ranks 2 --rank 1"), std::string::npos);
}

TEST(RunnerCommand, DevicesAreGroupedInTheirOrder) {
  ModelConfig model;
  for (const char* name : {"d", "a", "c", "b"})
    model.devices.push_back({.name = name, .kind = "cpu", .cores = {0}});
  EXPECT_EQ(device_groups(model).size(), 4u);
  model.tensor_parallel = 2;
  const auto groups = device_groups(model);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(devices_text(groups[0]), "d+a");
  EXPECT_EQ(devices_text(groups[1]), "c+b");
}

TEST(RunnerCommand, ARunnerIsTheSameWhateverItsProgramAndItsLife) {
  const std::vector<std::string> wanted = {"/new/ds-runner", "serve", "--name", "a@b", "--epoch", "9"};
  EXPECT_TRUE(is_same_runner(std::vector<std::string>{"--name", "a@b", "--epoch", "3"}, wanted));
  EXPECT_FALSE(is_same_runner(std::vector<std::string>{"--name", "a@c", "--epoch", "9"}, wanted));
  EXPECT_FALSE(is_same_runner(std::vector<std::string>{"--name", "a@b"}, wanted));
  EXPECT_FALSE(is_same_runner(std::vector<std::string>{}, std::vector<std::string>{}));
  EXPECT_TRUE(
      is_same_runner(std::vector<std::string>{"--name", "a@b", "--load-nice", "10", "--epoch", "3"}, wanted));
}

}  // namespace
}  // namespace deepserve::daemon
