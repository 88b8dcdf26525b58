#include "runner/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/backend/reference_model.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using ipc::TokenId;
using testing::HasSubstr;

struct Outcome {
  Result<int> result;
  std::string text;
};
Outcome run(std::vector<std::string> arguments) {
  testing::internal::CaptureStdout();
  auto result = run_logits(std::move(arguments));
  std::fflush(stdout);
  return {std::move(result), testing::internal::GetCapturedStdout()};
}

TEST(Logits, JsonHoldsTheTopLogitsOfEveryPosition) {
  const TinyModel model{.with_vocabulary = false};
  const auto bytes = model.gguf();
  const TemporaryFile file(bytes);
  const Outcome outcome = run({file.path().string(), "--tokens", "1,5,9", "--top", "3", "--json"});
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(*outcome.result, 0);
  const auto rows = boost::json::parse(outcome.text).as_array();
  const std::vector<TokenId> tokens = {1, 5, 9};
  const auto exact = reference_logits(model, bytes, tokens);
  ASSERT_EQ(rows.size(), tokens.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].at("position").to_number<size_t>(), i);
    EXPECT_EQ(rows[i].at("token").to_number<TokenId>(), tokens[i]);
    const auto& top = rows[i].at("top").as_array();
    ASSERT_EQ(top.size(), 3u);
    double previous = 1e30;
    for (const auto& entry : top) {
      const auto logit = entry.at("logit").to_number<double>();
      EXPECT_NEAR(logit, exact[i * model.vocabulary + entry.at("id").to_number<TokenId>()], 1e-4);
      EXPECT_LE(logit, previous);
      previous = logit;
    }
  }
}

// [position] the logits of tokens 0, 1, ... in the JSON of `--top` all.
std::vector<std::vector<double>> logits_of(const std::string& text) {
  std::vector<std::vector<double>> rows;
  const auto parsed = boost::json::parse(text);  // outlives the loop over it
  for (const auto& row : parsed.as_array()) {
    const auto& top = row.at("top").as_array();
    auto& logits = rows.emplace_back(top.size());
    for (const auto& entry : top)
      logits[entry.at("id").to_number<TokenId>()] = entry.at("logit").to_number<double>();
  }
  return rows;
}

TEST(Logits, TwoProcessesComputeWhatOneDoes) {
  const TemporaryFile file(TinyModel{}.gguf());
  std::vector<std::string> arguments = {file.path().string(), "--tokens", "1,5,9,2", "--top", "50", "--json"};
  auto spread = arguments;
  spread.insert(spread.end(), {"--tensor-parallel", "2"});
  const Outcome two = run(spread), again = run(spread), one = run(arguments);
  ASSERT_TRUE(two.result) << two.result.error().message;
  EXPECT_EQ(two.text, again.text);
  EXPECT_EQ(logits_of(two.text), logits_of(one.text));
  spread.back() = "3";
  const Outcome three = run(spread);
  ASSERT_FALSE(three.result);
  EXPECT_THAT(three.result.error().message, HasSubstr("2 key-value heads cannot be spread over 3 ranks"));
}

TEST(Logits, ThreadsAndRunsGiveTheSameBytes) {
  const TemporaryFile file(TinyModel{}.gguf());
  std::string tokens = "1";
  for (int i = 0; i < 70; ++i) tokens.append(",").append(std::to_string(i % 50));
  const Outcome one = run({file.path().string(), "--tokens", tokens, "--json"});
  const Outcome three = run({file.path().string(), "--tokens", tokens, "--json", "--threads", "3"});
  ASSERT_TRUE(one.result);
  EXPECT_EQ(one.text, three.text);
}

TEST(Logits, TextNamesThePieces) {
  const TemporaryFile file(TinyModel{}.gguf());
  const Outcome outcome = run({file.path().string(), "--tokens", "7", "--top", "50"});
  ASSERT_TRUE(outcome.result);
  EXPECT_THAT(outcome.text, HasSubstr("position 0, token 7\n"));
  EXPECT_THAT(outcome.text, HasSubstr("piece49\n"));
}

TEST(Logits, WrongArgumentsAreExplained) {
  const TemporaryFile file(TinyModel{.context = 16}.gguf());
  const std::string path = file.path().string();
  EXPECT_EQ(run({}).result.error().code, Code::kUsage);
  EXPECT_EQ(run({path}).result.error().code, Code::kUsage);
  EXPECT_EQ(run({path, "--tokens", "one"}).result.error().code, Code::kUsage);
  EXPECT_EQ(run({path, "--tokens", "1", "--top", "0"}).result.error().code, Code::kUsage);
  EXPECT_EQ(run({path, "--tokens", "-1"}).result.error().code, Code::kUsage);
  EXPECT_THAT(run({path, "--tokens", "50"}).result.error().message, HasSubstr("token 50"));
  EXPECT_EQ(run({path, "--tokens", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"}).result.error().code,
            Code::kContextLength);
  EXPECT_EQ(run({"/nowhere/m.gguf", "--tokens", "1"}).result.error().code, Code::kModelNotFound);
}

}  // namespace
}  // namespace deepserve::runner
