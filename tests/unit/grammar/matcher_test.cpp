// Masks over a vocabulary: the same tokens as trying each one, whatever path led there.
#include <chrono>
#include <random>

#include "runner/grammar/constraints.h"
#include "tests/unit/grammar/language.h"

namespace deepserve::runner::testing {
namespace {

std::vector<std::string> random_texts(std::mt19937_64& random, std::string_view alphabet, size_t count) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    std::string text;
    for (size_t bytes = 2 + random() % 5; bytes > 0; --bytes) text += alphabet[random() % alphabet.size()];
    texts.push_back(std::move(text));
  }
  return texts;
}

ipc::Constraint constraint(ipc::ConstraintKind kind, std::string text = {}) {
  return {kind, std::move(text)};
}

void expect_masks_are_what_is_accepted(const ipc::Constraint& what, std::string_view alphabet,
                                       uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << what.text << " seed " << seed);
  std::mt19937_64 random(seed);
  const ByteVocabulary vocabulary(random_texts(random, alphabet, 300));
  Constraints constraints(vocabulary, vocabulary.size() + 7);  // rows beyond the vocabulary
  auto matcher = constraints.matcher(what, {ByteVocabulary::kEnd});
  ASSERT_TRUE(matcher) << matcher.error().message;
  GrammarMatcher at = std::move(**matcher);
  std::string text;
  for (int steps = 0; steps < 60 && !at.finished(); ++steps) {
    const auto allowed = at.allowed();
    ASSERT_TRUE(allowed) << allowed.error().message << " after " << text;
    const TokenMask mask(allowed->begin(), allowed->end());
    std::vector<TokenId> may_come;
    for (TokenId token = 0; token < mask.size() * 64; ++token) {
      GrammarMatcher tried = at;
      const bool accepted = token < vocabulary.size() && tried.accept(token);
      ASSERT_EQ(has_token(mask, token), accepted)
          << "token " << token << " '" << vocabulary.token_bytes(token) << "' after " << text;
      if (accepted && token != ByteVocabulary::kEnd) may_come.push_back(token);
    }
    if (may_come.empty()) break;
    const TokenId next = may_come[random() % may_come.size()];
    ASSERT_TRUE(at.accept(next));
    text += vocabulary.token_bytes(next);
  }
}

TEST(Matcher, MasksAreWhatIsAccepted) {
  using ipc::ConstraintKind;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    expect_masks_are_what_is_accepted(constraint(ConstraintKind::kJsonObject), "{}[]\":,ab1e-. \n\\u0", seed);
    expect_masks_are_what_is_accepted(
        constraint(ConstraintKind::kJsonSchema,
                   R"({"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#"}},
                       "b":{"type":"string","maxLength":5}},"additionalProperties":{"type":"number"}})"),
        "{}[]\":,ab1e-.", seed);
    expect_masks_are_what_is_accepted(
        constraint(ConstraintKind::kJsonSchema,
                   R"({"type":"object","properties":{"a\"b":{},"\\":{}},"required":["a\"b"],
                       "additionalProperties":{"$ref":"#"}})"),
        "{}\\\":,ab", seed);
    expect_masks_are_what_is_accepted(constraint(ConstraintKind::kGrammar,
                                                 "root ::= e\ne ::= t (\"+\" e)?\nt ::= \"(\" e \")\" | n\n"
                                                 "n ::= [0-9] n | [0-9]{1,3} [.]? | \"\xc3\xa9\""),
                                      "()+0123.\xc3\xa9", seed);
    expect_masks_are_what_is_accepted(
        constraint(ConstraintKind::kGrammar,
                   "root ::= a | b\na ::= \"x\" a \"y\" | \"x\"\nb ::= \"x\" b \"z\" | \"x\""),
        "xyz", seed);
  }
}

TEST(Matcher, AMaskOfManyWaysToReadTheAnswerTakesNoLongerThanOthers) {
  // After some letters the answer may be in any of 200 rules, each of which may end at any letter.
  std::string source = "root ::= x0";
  for (int i = 1; i < 200; ++i) source += fmt::format(" | x{}", i);
  for (int i = 0; i < 200; ++i) source += fmt::format("\nx{} ::= [a-z] x{} [0-9] | [a-z]", i, i);
  std::mt19937_64 random(1);
  const ByteVocabulary vocabulary(random_texts(random, "abcdefghijklmnopqrstuvwxyz0123456789", 30'000));
  Constraints constraints(vocabulary, vocabulary.size());
  auto matcher = **constraints.matcher(constraint(ipc::ConstraintKind::kGrammar, source), {});
  Result<void> refused;
  for (int tokens = 0; tokens < 3 && refused; ++tokens) {
    const auto begin = std::chrono::steady_clock::now();
    if (const auto allowed = matcher.allowed(); !allowed) refused = tl::unexpected(allowed.error());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took.count(), 0.5) << "token " << tokens;  // a sanitized build on a busy machine
    if (!refused) break;
    ASSERT_TRUE(matcher.accept('a'));
  }
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNotSupported);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("too ambiguous"));
}

TEST(Matcher, EndTokensComeWhereTheAnswerIsCompleteAndOnlyThere) {
  const ByteVocabulary vocabulary({"stop"});
  const TokenId stop = 257;
  Constraints constraints(vocabulary, vocabulary.size());
  auto matcher = **constraints.matcher(
      constraint(ipc::ConstraintKind::kGrammar, "root ::= \"s\"? [a-z]{2,4}"), {ByteVocabulary::kEnd, stop});
  EXPECT_FALSE(has_token(*matcher.allowed(), ByteVocabulary::kEnd));
  EXPECT_FALSE(has_token(*matcher.allowed(), stop)) << "its text would fit, but it ends the answer";
  EXPECT_FALSE(matcher.accept(stop));
  ASSERT_TRUE(matcher.accept('a'));
  ASSERT_TRUE(matcher.accept('b'));
  EXPECT_TRUE(matcher.complete());
  EXPECT_FALSE(matcher.finished());
  EXPECT_TRUE(has_token(*matcher.allowed(), ByteVocabulary::kEnd));
  EXPECT_TRUE(has_token(*matcher.allowed(), stop));
  EXPECT_TRUE(has_token(*matcher.allowed(), 'c'));
  GrammarMatcher other = matcher;
  ASSERT_TRUE(other.accept(stop));
  EXPECT_TRUE(other.finished());
  ASSERT_TRUE(matcher.accept('c'));
  ASSERT_TRUE(matcher.accept('d'));
  EXPECT_TRUE(matcher.finished()) << "nothing can follow";
}

TEST(Matcher, ARefusedTokenChangesNothing) {
  const ByteVocabulary vocabulary({"ax", "ab", "\"k\":1,\"k\""});
  Constraints constraints(vocabulary, vocabulary.size());
  auto matcher = **constraints.matcher(constraint(ipc::ConstraintKind::kGrammar, "root ::= \"abc\""), {});
  EXPECT_FALSE(matcher.accept(257));
  EXPECT_TRUE(matcher.accept(258));
  EXPECT_TRUE(matcher.accept('c'));
  auto object = **constraints.matcher(constraint(ipc::ConstraintKind::kJsonObject), {});
  ASSERT_TRUE(object.accept('{'));
  EXPECT_FALSE(object.accept(259)) << "a key twice within one token";
  for (const char byte : std::string_view("\"k\":1}")) EXPECT_TRUE(object.accept(static_cast<TokenId>(byte)));
  EXPECT_TRUE(object.finished());
}

TEST(Matcher, AVocabularyThatCannotSayItIsTold) {
  class NoBraces final : public Tokenizer {
   public:
    std::vector<TokenId> encode(std::string_view, Specials) const override { return {}; }
    std::string_view token_bytes(TokenId, bool) const override { return "a"; }
    std::string decode(std::span<const TokenId>) const override { return {}; }
    const Vocabulary& vocabulary() const override { return vocabulary_; }
    bool ends_generation(TokenId) const override { return false; }
    Vocabulary vocabulary_;
  } tokenizer;
  Constraints constraints(tokenizer, 3);
  auto matcher = **constraints.matcher(constraint(ipc::ConstraintKind::kJsonObject), {});
  const auto allowed = matcher.allowed();
  ASSERT_FALSE(allowed);
  EXPECT_THAT(allowed.error().message, ::testing::HasSubstr("no token of the model's vocabulary"));
}

TEST(Constraints, RepeatedOnesAreCompiledOnceAndTheOldestAreForgotten) {
  const ByteVocabulary vocabulary;
  Constraints constraints(vocabulary, vocabulary.size());
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(constraints.matcher(constraint(ipc::ConstraintKind::kJsonObject), {}));
    ASSERT_TRUE(constraints.matcher(constraint(ipc::ConstraintKind::kGrammar, "root ::= \"a\""), {}));
  }
  EXPECT_EQ(constraints.kept(), 2u);
  EXPECT_FALSE(constraints.matcher(constraint(ipc::ConstraintKind::kGrammar, "root"), {}));
  for (size_t i = 0; i < 2 * kGrammarsKept; ++i) {
    const auto text = fmt::format("root ::= \"{}\"", i);
    ASSERT_TRUE(constraints.matcher(constraint(ipc::ConstraintKind::kGrammar, text), {}));
  }
  EXPECT_EQ(constraints.kept(), kGrammarsKept);
  EXPECT_FALSE(constraints.matcher(constraint(ipc::ConstraintKind::kNone), {})->has_value());
}

TEST(Constraints, RefusalsAreRememberedUnlessTheyAreTooLong) {
  const ByteVocabulary vocabulary;
  Constraints constraints(vocabulary, vocabulary.size());
  const auto refused = constraint(ipc::ConstraintKind::kJsonSchema, R"({"not":{}})");
  const auto first = constraints.matcher(refused, {});
  ASSERT_FALSE(first);
  EXPECT_EQ(constraints.kept(), 1u);
  const auto again = constraints.matcher(refused, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, first.error().code);
  EXPECT_EQ(again.error().message, first.error().message);
  const auto longest = constraint(ipc::ConstraintKind::kGrammar, std::string(kGrammarBytesMax + 1, ' '));
  EXPECT_FALSE(constraints.matcher(longest, {}));
  EXPECT_EQ(constraints.kept(), 1u);
}

TEST(MaskCache, KeepsWhatWasUsedLastWithinItsBytes) {
  auto mask = std::make_shared<StateMask>();
  mask->allowed.resize(100);
  MaskCache cache(3 * mask->bytes());
  const uint32_t first = cache.new_grammar(), second = cache.new_grammar();
  cache.add(first, 1, mask);
  cache.add(first, 2, mask);
  cache.add(second, 1, mask);
  EXPECT_TRUE(cache.find(first, 1));
  cache.add(second, 2, mask);
  EXPECT_TRUE(cache.find(first, 1));
  EXPECT_FALSE(cache.find(first, 2));
  EXPECT_TRUE(cache.find(second, 1));
  EXPECT_LE(cache.bytes(), 3 * mask->bytes());
}

}  // namespace
}  // namespace deepserve::runner::testing
