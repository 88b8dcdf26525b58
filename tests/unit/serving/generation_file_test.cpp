// What the next dsd reads is what this one wrote, or nothing.
#include "daemon/serving/generation_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/config/model_change.h"

namespace deepserve::daemon {
namespace {

ModelConfig settings(const std::string& path) {
  ModelConfig settings;
  settings.path = path;
  settings.devices = {{.name = "cpu0", .kind = "cpu", .cores = {0, 1}, .memory_limit_bytes = 1 << 30},
                      {.name = "cpu1", .kind = "cpu", .cores = {2}, .allow_jit = true}};
  settings.tensor_parallel = 2;
  settings.context_tokens = 99;
  settings.kv_memory_bytes = 5'000'000'000;
  settings.kv_type = "q8";
  settings.sequences_max = 3;
  settings.step_target_ns = 4;
  settings.step_max_ns = 5;
  settings.prefix_cache = PrefixCache::kPerClient;
  settings.chat_template = "chatml";
  settings.speculation = "off";
  settings.deterministic = false;
  return settings;
}

class GenerationFile : public ::testing::Test {
 protected:
  ~GenerationFile() override { std::filesystem::remove(file_); }

  static KeptModel kept() {
    KeptModel kept;
    kept.model = "tiny";
    kept.slot = 3;
    kept.configured = settings("/m/new.gguf");
    auto& live = kept.rollout.history.emplace_back();
    live.number = 4;
    live.state = GenerationState::kLive;
    kept.rollout.routed = 4;
    kept.rollout.mirrors = true;
    kept.pauses_ns = {7, 8'000'000'000'000};
    kept.settings.emplace(4, settings("/m/old.gguf"));
    kept.runners[4] = {"tiny@cpu0+cpu1"};
    return kept;
  }
  std::string text() const {
    std::stringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }

  const std::string file_ = std::filesystem::temp_directory_path() /
                            ("deepserve-generations-" + std::to_string(::getpid()) + ".json");
};

TEST_F(GenerationFile, IsReadAsItWasWritten) {
  ASSERT_TRUE(write_generations(file_, {kept()}));
  const auto read = read_generations(file_);
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].model, "tiny");
  EXPECT_EQ(read[0].slot, 3u);
  EXPECT_TRUE(has_same_runners(read[0].configured, settings("/m/new.gguf")));
  ASSERT_TRUE(read[0].settings.contains(4));
  EXPECT_TRUE(has_same_runners(read[0].settings.at(4), settings("/m/old.gguf")));
  EXPECT_EQ(read[0].runners.at(4), std::vector<std::string>{"tiny@cpu0+cpu1"});
  EXPECT_EQ(read[0].rollout.routed, 4u);
  EXPECT_TRUE(read[0].rollout.mirrors);
  EXPECT_EQ(read[0].pauses_ns, (std::vector<uint64_t>{7, 8'000'000'000'000}));
}

TEST_F(GenerationFile, IsOurUsersAloneWhateverAnotherBuildLeft) {
  std::ofstream(file_ + ".new") << "half";
  std::filesystem::permissions(file_ + ".new", std::filesystem::perms(0644));
  ASSERT_TRUE(write_generations(file_, {kept()}));
  EXPECT_EQ(std::filesystem::status(file_).permissions(), std::filesystem::perms(0600));
  EXPECT_EQ(read_generations(file_).size(), 1u);
}

TEST_F(GenerationFile, OfABuildThatKnewNoPausesAndNoShadowsIsRead) {
  auto before = kept();
  before.pauses_ns.clear();
  ASSERT_TRUE(write_generations(file_, {before}));
  std::string without = text();
  for (const std::string key : {R"("pauses_ns":[],)", R"("mirrors":true,)"}) {
    ASSERT_NE(without.find(key), std::string::npos) << key;
    without.erase(without.find(key), key.size());
  }
  std::ofstream(file_, std::ios::trunc) << without;
  EXPECT_EQ(read_generations(file_).size(), 1u);
}

TEST_F(GenerationFile, CutAnywhereIsNone) {
  ASSERT_TRUE(write_generations(file_, {kept()}));
  const std::string whole = text();
  for (size_t size = 0; size + 1 < whole.size(); ++size) {  // the last byte ends the line
    std::ofstream(file_, std::ios::trunc) << whole.substr(0, size);
    EXPECT_TRUE(read_generations(file_).empty()) << size;
  }
}

TEST_F(GenerationFile, WithRunnersOfNoRankIsNone) {
  auto wrong = kept();
  wrong.settings.at(4).tensor_parallel = 0;
  ASSERT_TRUE(write_generations(file_, {wrong}));
  EXPECT_TRUE(read_generations(file_).empty());
}

}  // namespace
}  // namespace deepserve::daemon
