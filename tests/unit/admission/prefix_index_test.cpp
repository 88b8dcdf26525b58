#include "daemon/admission/prefix_index.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "daemon/admission/prompt_prefix.h"

namespace deepserve::daemon {
namespace {

std::vector<uint64_t> chain(uint64_t first, size_t count) {
  std::vector<uint64_t> pieces(count);
  std::iota(pieces.begin(), pieces.end(), first);
  return pieces;
}

ipc::Prompt text(std::string text) {
  ipc::Prompt prompt;
  prompt.text = std::move(text);
  return prompt;
}

ipc::Prompt chat(std::vector<std::pair<std::string, std::string>> messages) {
  ipc::Prompt prompt;
  prompt.kind = ipc::PromptKind::kChat;
  for (auto& [role, content] : messages) prompt.chat.push_back({.role = role, .content = content});
  return prompt;
}

TEST(PrefixIndex, KnowsTheBeginningThatTwoPromptsShare) {
  PrefixIndex index;
  index.reset(100);
  index.add(chain(1, 10));
  auto other = chain(1, 6);
  other.push_back(999);
  EXPECT_EQ(index.known(other), 6u);
  EXPECT_EQ(index.known(chain(1, 10)), 10u);
  EXPECT_EQ(index.known(chain(2, 3)), 3u);
  EXPECT_EQ(index.known(chain(50, 3)), 0u);
  EXPECT_EQ(index.known({}), 0u);
}

TEST(PrefixIndex, ForgetsWhatWasUsedLongestAgoAndOfAPromptItsEndFirst) {
  PrefixIndex index;
  index.reset(10);
  index.add(chain(1, 6));
  index.add(chain(101, 6));
  EXPECT_EQ(index.size(), 10u);
  EXPECT_EQ(index.known(chain(101, 6)), 6u);
  EXPECT_EQ(index.known(chain(1, 6)), 4u);
  index.add(chain(1, 4));
  index.add(chain(201, 5));
  EXPECT_EQ(index.known(chain(1, 6)), 4u);
  EXPECT_EQ(index.known(chain(101, 6)), 1u);
}

TEST(PrefixIndex, IsBoundedWhateverIsAskedOfIt) {
  PrefixIndex index;
  index.reset(SIZE_MAX);
  for (uint64_t first = 0; first < 40; ++first) index.add(chain(first * 1'000'000, 1'000));
  EXPECT_EQ(index.size(), PrefixIndex::kPiecesMax);
  index.reset(0);
  index.add(chain(1, 10));
  EXPECT_EQ(index.size(), 0u);
}

TEST(PrefixIndex, IsTrustedAsFarAsItsHitsCome) {
  PrefixIndex index;
  index.reset(100);
  EXPECT_EQ(index.trust(), 1.0);
  for (int i = 0; i < 50; ++i) index.heard(0.8, 0.2);
  EXPECT_NEAR(index.trust(), 0.25, 0.01);
  for (int i = 0; i < 50; ++i) index.heard(0.8, 0.9);
  EXPECT_NEAR(index.trust(), 1.0, 0.01);
}

TEST(PromptPrefix, PromptsAreAlikeUpToThePieceThatDiffers) {
  const std::string shared(1'000, 'a');
  const auto one = prefix_of(text(shared + std::string(1'000, 'b')), {});
  const auto two = prefix_of(text(shared + std::string(1'000, 'c')), {});
  ASSERT_EQ(one.pieces.size(), 2'000 / PromptPrefix::kPieceBytes);
  EXPECT_TRUE(std::equal(one.pieces.begin(), one.pieces.begin() + 3, two.pieces.begin()));
  EXPECT_NE(one.pieces[3], two.pieces[3]);
  EXPECT_NE(one.pieces[4], two.pieces[4]) << "a piece's hash is of all that is before it";
  EXPECT_NEAR(one.part(3), 768.0 / 2'000, 1e-9);
}

TEST(PromptPrefix, AConversationThatGoesOnBeginsAsItsTurnBefore) {
  const std::string long_text(2'000, 'x');
  const auto before = prefix_of(chat({{"system", long_text}, {"user", "hi"}}), {});
  const auto after =
      prefix_of(chat({{"system", long_text}, {"user", "hi"}, {"assistant", "ho"}, {"user", "so?"}}), {});
  ASSERT_GE(before.pieces.size(), 7u);
  EXPECT_TRUE(std::equal(before.pieces.begin(), before.pieces.end(), after.pieces.begin()));
  const auto moved = prefix_of(chat({{"system", ""}, {"user", long_text}}), {});
  EXPECT_NE(moved.pieces.front(), before.pieces.front()) << "who says it counts";
}

TEST(PromptPrefix, ClientsThatDoNotShareAreNeverAlikeAndHugePromptsAreCut) {
  const auto prompt = text(std::string(1 << 20, 'a'));
  const auto one = prefix_of(prompt, {1, 2});
  EXPECT_NE(one.pieces.front(), prefix_of(prompt, {1, 3}).pieces.front());
  EXPECT_EQ(one.pieces.size(), PromptPrefix::kPiecesMax);
  EXPECT_EQ(one.bytes, uint64_t{1} << 20);
  ipc::Prompt tokens;
  tokens.kind = ipc::PromptKind::kTokens;
  tokens.tokens.assign(128, 7);
  EXPECT_EQ(prefix_of(tokens, {}).pieces.size(), 2u);
  EXPECT_TRUE(prefix_of(text("short"), {}).pieces.empty());
}

}  // namespace
}  // namespace deepserve::daemon
