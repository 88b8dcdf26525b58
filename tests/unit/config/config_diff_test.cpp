#include "daemon/config/config_diff.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "daemon/config/model_change.h"

namespace deepserve::daemon {
namespace {

Config running() {
  Config config;
  config.devices.push_back({.name = "cpu0", .kind = "cpu", .cores = {0}});
  ModelConfig model;
  model.name = "tiny";
  model.path = "/m/tiny.gguf";
  model.devices = config.devices;
  config.models.push_back(model);
  ClientConfig client;
  client.name = "frontend";
  client.uid = 1000;
  config.clients.push_back(client);
  config.text = "old";
  return config;
}

TEST(ConfigDiff, SaysEachKeyThatDiffersAndWhetherAReloadTakesIt) {
  auto changed = running();
  changed.clients[0].weight = 3;
  changed.classes[0].deadline_ns = 700 * kMillisecond_ns;
  changed.models[0].path = "/m/other.gguf";
  changed.models[0].keep_alive_ns = kSecond_ns;
  changed.devices[0].cores = {1};
  std::vector<std::string> said;
  for (const auto& change : config_diff(running(), changed)) {
    said.push_back(fmt::format("{} {} {}", change.key, takes_effect_name(change.takes), change.to));
  }
  EXPECT_EQ(said, (std::vector<std::string>{"class.vip.deadline reload \"700ms\"",
                                            "client.frontend.weight reload 3E0", "device.cpu0.cores swap [1]",
                                            "model.tiny.keep_alive reload \"1s\"",
                                            "model.tiny.path swap \"/m/other.gguf\""}));
}

TEST(ConfigDiff, EqualFilesDifferInNothing) {
  EXPECT_TRUE(config_diff(running(), running()).empty());
}

TEST(ConfigDiff, AnotherApiKeyIsAChangeThatShowsNoKey) {
  auto changed = running();
  changed.clients[0].api_keys.push_back(digest_of_key("secret"));
  const auto changes = config_diff(running(), changed);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].key, "client.frontend.api_keys");
  EXPECT_EQ(changes[0].to, "\"(others)\"");
}

TEST(ConfigDiff, AModelThatComesIsLoadedAndOneThatGoesIsDrained) {
  auto changed = running();
  changed.models[0].name = "other";
  changed.devices.push_back({.name = "cpu1", .kind = "cpu", .cores = {1}});
  changed.server.listen.push_back({.unix_path = "", .host = "127.0.0.1", .port = 8080});
  changed.supervise.deaths_max = 9;
  for (const auto& change : config_diff(running(), changed)) {
    const auto expected = change.key.starts_with("model.other.")  ? TakesEffect::kLoad
                          : change.key.starts_with("model.tiny.") ? TakesEffect::kDrain
                                                                  : TakesEffect::kReload;
    EXPECT_EQ(change.takes, expected) << change.key;
  }
}

TEST(ModelChange, ADeviceThatChangesChangesItsModelsRunners) {
  auto changed = running().models[0];
  changed.devices[0].memory_limit_bytes = 1 << 30;
  EXPECT_FALSE(has_same_runners(running().models[0], changed));
}

TEST(ModelChange, EveryKeyOfAModelIsItsRunnersOrDsdsOwn) {
  const auto changes = [](auto change) {
    auto changed = running();
    change(changed.models[0]);
    EXPECT_EQ(config_diff(running(), changed).size(), 1u);
    return !has_same_runners(running().models[0], changed.models[0]);
  };
  EXPECT_TRUE(changes([](auto& model) { model.path = "/m/other.gguf"; }));
  EXPECT_TRUE(changes([](auto& model) { model.devices[0].name = "cpu1"; }));
  EXPECT_TRUE(changes([](auto& model) { model.tensor_parallel = 2; }));
  EXPECT_TRUE(changes([](auto& model) { model.context_tokens = 77; }));
  EXPECT_TRUE(changes([](auto& model) { model.kv_memory_bytes = 1 << 20; }));
  EXPECT_TRUE(changes([](auto& model) { model.kv_type = std::string("q8"); }));
  EXPECT_TRUE(changes([](auto& model) { model.sequences_max = 7; }));
  EXPECT_TRUE(changes([](auto& model) { model.step_target_ns = 7; }));
  EXPECT_TRUE(changes([](auto& model) { model.step_max_ns = 7; }));
  EXPECT_TRUE(changes([](auto& model) { model.prefix_cache = PrefixCache::kOff; }));
  EXPECT_TRUE(changes([](auto& model) { model.chat_template = std::string("x"); }));
  EXPECT_TRUE(changes([](auto& model) { model.speculation = "off"; }));
  EXPECT_TRUE(changes([](auto& model) { model.deterministic = false; }));
  EXPECT_FALSE(changes([](auto& model) { model.aliases = {"small"}; }));
  EXPECT_FALSE(changes([](auto& model) { model.fallback = {"other"}; }));
  EXPECT_FALSE(changes([](auto& model) { model.fallback_reply = "later"; }));
  EXPECT_FALSE(changes([](auto& model) { model.keep_warm_ns = 7; }));
  EXPECT_FALSE(changes([](auto& model) { model.keep_alive_ns = 7; }));
}

}  // namespace
}  // namespace deepserve::daemon
