#include "runner/serve_arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ServeArguments, WhatTheDaemonWritesIsUnderstood) {
  const auto options = parse_serve_arguments(
      {"--name",          "tiny@cpu0",  "--model",          "m.gguf",  "--kind",          "cpu",
       "--cores",         "0,3",        "--context-tokens", "512",     "--kv-bytes",      "1073741824",
       "--sequences-max", "8",          "--step-target-ns", "5000000", "--prefix-cache",  "off",
       "--epoch",         "3",          "--ranks",          "4",       "--rank",          "2",
       "--memory-limit",  "8589934592", "--speculation",    "off",     "--kv-type",       "q8",
       "--step-max-ns",   "60000000",   "--load-nice",      "10",      "--deterministic", "off",
       "--allow-jit",     "on"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->name, "tiny@cpu0");
  EXPECT_THAT(options->cores, ElementsAre(0, 3));
  EXPECT_EQ(options->kv_bytes, 1073741824u);
  EXPECT_EQ(options->step_target_ns, 5'000'000u);
  EXPECT_EQ(options->step_max_ns, 60'000'000u);
  EXPECT_FALSE(options->prefix_cache);
  EXPECT_EQ(options->load_nice, 10);
  EXPECT_EQ(options->kv_type, kernels::KvType::kQ8);
  EXPECT_EQ(options->epoch, 3u);
  EXPECT_EQ(options->ranks, 4u);
  EXPECT_EQ(options->rank, 2u);
  EXPECT_FALSE(options->speculation);
  EXPECT_FALSE(options->deterministic);
  EXPECT_TRUE(options->allow_jit);
  EXPECT_TRUE(parse_serve_arguments({"--name", "x", "--model", "m"})->speculation);
  EXPECT_TRUE(parse_serve_arguments({"--name", "x", "--model", "m"})->deterministic);
  EXPECT_FALSE(parse_serve_arguments({"--name", "x", "--model", "m"})->allow_jit);
  EXPECT_EQ(options->memory_limit_bytes, 8589934592u);
}

TEST(ServeArguments, WhatIsWrongIsNamed) {
  EXPECT_THAT(parse_serve_arguments({"--name", "x"}).error().message, HasSubstr("--model"));
  EXPECT_THAT(parse_serve_arguments({"--name", "x", "--model", "m", "--cores", "0,x"}).error().message,
              HasSubstr("\"x\""));
  EXPECT_EQ(parse_serve_arguments({"--name", "x", "--model", "m", "--sequences-max", "0"}).error().code,
            Code::kUsage);
  EXPECT_THAT(parse_serve_arguments({"--name", "x", "--model", "m", "--step-max-ns", "0"}).error().message,
              HasSubstr("--step-max-ns"));
  EXPECT_THAT(
      parse_serve_arguments({"--name", "x", "--model", "m", "--prefix-cache", "maybe"}).error().message,
      HasSubstr("--prefix-cache"));
  EXPECT_THAT(parse_serve_arguments({"--name", "x", "--model", "m", "--rank", "1"}).error().message,
              HasSubstr("--rank 1 of --ranks 1"));
  EXPECT_EQ(parse_serve_arguments({"--name", "x", "--model", "m", "--speculation", "x"}).error().code,
            Code::kUsage);
  EXPECT_THAT(parse_serve_arguments({"--name", "x", "--model", "m", "--deterministic", "no"}).error().message,
              HasSubstr("--deterministic"));
  EXPECT_THAT(parse_serve_arguments({"--name", "x", "--model", "m", "--kv-type", "q4"}).error().message,
              HasSubstr("--kv-type"));
  EXPECT_TRUE(parse_serve_arguments({"--name", "x", "--model", "m", "--cores", ""})->cores.empty());
}

TEST(ServeArguments, HelpIsNoMistake) {
  EXPECT_EXIT((void)parse_serve_arguments({"--help"}), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace deepserve::runner
