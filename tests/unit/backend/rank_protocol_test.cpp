#include "runner/backend/rank_protocol.h"

#include <gtest/gtest.h>

#include <random>

namespace deepserve::runner {
namespace {

BackendInfo small_backend() {
  BackendInfo info;
  info.vocabulary = 100;
  info.block_tokens = 16;
  info.blocks = 8;
  info.batch_tokens_max = 64;
  return info;
}

const std::vector<TokenId> kTokens = {1, 2, 99};
const std::vector<BlockId> kBlocks = {7, 0};

BatchEntry entry_at(uint32_t position) {
  return {.tokens = kTokens, .position = position, .blocks = kBlocks, .logits_rows = 1, .hidden_rows = true};
}

std::string refusal(CommandWords command, std::vector<uint32_t> body) {
  std::vector<BatchEntry> batch;
  const auto done = read_step(command, body, small_backend(), batch);
  if (done) return "";
  EXPECT_EQ(done.error().code, Code::kBadLane);
  return done.error().message;
}

TEST(RankProtocol, AStepArrivesAsItWasSentWithoutHiddenRows) {
  const std::vector<BatchEntry> sent = {entry_at(14), entry_at(29)};
  std::vector<uint32_t> body;
  const CommandWords command = write_step(sent, body);
  std::vector<BatchEntry> batch;
  const auto done = read_step(command, body, small_backend(), batch);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(batch.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(std::vector(batch[i].tokens.begin(), batch[i].tokens.end()), kTokens);
    EXPECT_EQ(std::vector(batch[i].blocks.begin(), batch[i].blocks.end()), kBlocks);
    EXPECT_EQ(batch[i].position, sent[i].position);
    EXPECT_EQ(batch[i].logits_rows, 1u);
    EXPECT_FALSE(batch[i].hidden_rows);
  }
}

TEST(RankProtocol, WhatIsOutOfBoundsIsRefusedByName) {
  std::vector<uint32_t> body;
  const BatchEntry one = entry_at(14);
  const CommandWords command = write_step({&one, 1}, body);
  EXPECT_EQ(refusal(command, body), "");
  const auto with = [&](size_t index, uint32_t value) {
    auto changed = body;
    changed[index] = value;
    return refusal(command, changed);
  };
  EXPECT_NE(with(0, 4), "");   // tokens
  EXPECT_NE(with(1, 40), "");  // position: more blocks
  EXPECT_NE(with(1, 0xffff'ffff), "");
  EXPECT_NE(with(2, 1), "");  // blocks
  EXPECT_NE(with(3, 4), "");  // rows of logits
  EXPECT_NE(with(4, 100).find("100 as a token, at most 99"), std::string::npos);
  EXPECT_NE(with(7, 8).find("8 as a block, at most 7"), std::string::npos);
  EXPECT_NE(refusal({command[0], 1, 65, 2}, body), "");
  EXPECT_NE(refusal({command[0], 1, 3, 1}, body), "");
  EXPECT_NE(refusal({command[0], 2, 3, 2}, body), "");
}

TEST(RankProtocol, NoWordsReadOutOfBounds) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<BatchEntry> batch;
  for (int i = 0; i < 20'000; ++i) {
    const CommandWords command = {1, static_cast<uint32_t>(random() % 4), static_cast<uint32_t>(random() % 6),
                                  static_cast<uint32_t>(random() % 4)};
    std::vector<uint32_t> body(command[1] * 4 + command[2] + command[3]);
    for (uint32_t& word : body) word = random() % 8 == 0 ? static_cast<uint32_t>(random()) : random() % 3;
    if (!read_step(command, body, small_backend(), batch)) continue;
    for (const BatchEntry& entry : batch) {
      const size_t end = entry.position + entry.tokens.size();
      ASSERT_EQ(entry.blocks.size(), (end + 15) / 16);
      for (const BlockId block : entry.blocks) ASSERT_LT(block, 8u);
    }
  }
}

}  // namespace
}  // namespace deepserve::runner
