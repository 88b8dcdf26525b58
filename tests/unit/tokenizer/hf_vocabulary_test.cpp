#include "runner/model/huggingface/hf_vocabulary.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;
using Specials = Tokenizer::Specials;
using Ids = std::vector<TokenId>;

// Byte-level, a to e, "ab" and "abc" by merges, two added tokens.
json::object small() {
  return json::parse(R"({
    "added_tokens": [
      {"id": 7, "content": "<s>", "special": true, "normalized": false},
      {"id": 9, "content": "<think>", "special": false, "normalized": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null,
      "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "ab": 5, "abc": 6},
      "merges": ["a b", ["ab", "c"]]}})")
      .as_object();
}

Result<Vocabulary> parse(const json::object& tokenizer, HfTokenizerFiles files = {}) {
  files.directory.assign(1, 'D');
  files.tokenizer = json::serialize(tokenizer);
  return parse_hf_vocabulary(files);
}

Error refusal(const json::object& tokenizer, HfTokenizerFiles files = {}) {
  const Result<Vocabulary> vocabulary = parse(tokenizer, std::move(files));
  EXPECT_FALSE(vocabulary);
  return vocabulary ? Error{} : vocabulary.error();
}

// small() with the value at `path` ("model/vocab") replaced.
json::object with(std::string_view path, std::string_view value) {
  json::object changed = small();
  json::object* object = &changed;
  for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/')) {
    object = &object->at(path.substr(0, slash)).as_object();
    path.remove_prefix(slash + 1);
  }
  (*object)[path] = json::parse(value);
  return changed;
}

TEST(HfVocabulary, TokensMergesAndAddedTokensAreRead) {
  const Result<Vocabulary> vocabulary = parse(small());
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  ASSERT_EQ(vocabulary->tokens.size(), 10u);
  EXPECT_EQ(vocabulary->kinds[7], TokenKind::kControl);
  EXPECT_EQ(vocabulary->kinds[8], TokenKind::kUnused) << "a hole";
  EXPECT_EQ(vocabulary->kinds[9], TokenKind::kUserDefined);
  const auto tokenizer = Tokenizer::make(*vocabulary);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode("abcab<s><think>", Specials::kParse), (Ids{6, 5, 7, 9}));
  EXPECT_EQ((*tokenizer)->encode("ab<think>", Specials::kPlainText), (Ids{5, 9}));
  EXPECT_EQ((*tokenizer)->decode(Ids{6, 7, 8, 9, 5}), "abc<think>ab");
}

TEST(HfVocabulary, MarkersThatTheFileDoesNotCallSpecialAreShownButNotTyped) {
  json::object file = small();
  file["added_tokens"] = json::parse(R"([{"id": 7, "content": "<｜User｜>", "special": false}])");
  const auto tokenizer = Tokenizer::make(parse(file).value());
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ((*tokenizer)->encode("a<｜User｜>", Specials::kParse), (Ids{0, 7}));
  EXPECT_EQ((*tokenizer)->encode("a<｜User｜>", Specials::kPlainText), (Ids{0, 4})) << "of it e is known";
  EXPECT_EQ((*tokenizer)->decode(Ids{0, 7}), "a<｜User｜>");
}

TEST(HfVocabulary, SpecialTokensComeFromTheFilesBeside) {
  HfTokenizerFiles files;
  files.special_tokens_map = R"({"eos_token": {"content": "a"}, "bos_token": "b"})";
  files.tokenizer_config =
      R"({"bos_token": {"content": "<s>"}, "add_bos_token": true, "chat_template": "one"})";
  Result<Vocabulary> vocabulary = parse(small(), files);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->bos, 7u);
  EXPECT_EQ(vocabulary->eos, 0u);
  EXPECT_TRUE(vocabulary->add_bos);
  EXPECT_FALSE(vocabulary->add_eos);
  EXPECT_EQ(vocabulary->chat_template, "one");
  files.chat_template = "of its own file";
  EXPECT_EQ(parse(small(), files)->chat_template, "of its own file");
  files.tokenizer_config = R"({"eos_token": "<nowhere>"})";
  EXPECT_EQ(refusal(small(), files).message, "D/tokenizer_config.json: eos_token: \"<nowhere>\" is no token");
}

TEST(HfVocabulary, OfSeveralChatTemplatesTheDefaultIsTaken) {
  HfTokenizerFiles files;
  files.tokenizer_config = R"({"chat_template": [{"name": "tool_use", "template": "T"},
                                                 {"name": "default", "template": "D"}]})";
  EXPECT_EQ(parse(small(), files)->chat_template, "D");
  files.tokenizer_config = R"({"chat_template": [{"name": "rag", "template": "R"}]})";
  EXPECT_EQ(parse(small(), files)->chat_template, "R");
  files.tokenizer_config = R"({"chat_template": [{"name": "rag"}]})";
  EXPECT_EQ(refusal(small(), files).code, Code::kBadModelFile);
}

TEST(HfVocabulary, ATemplateSaysWhatGoesBeforeAndAfter) {
  const auto file = with("post_processor", R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
    {"type": "TemplateProcessing",
     "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "e"}}],
     "special_tokens": {"<s>": {"id": "<s>", "ids": [7]}, "e": {"id": "e", "ids": [4]}}}]})");
  const Result<Vocabulary> vocabulary = parse(file);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_TRUE(vocabulary->add_bos && vocabulary->add_eos);
  EXPECT_EQ(vocabulary->bos, 7u);
  EXPECT_EQ(vocabulary->eos, 4u);
}

struct Refused {
  const char* path;
  const char* value;
  const char* message;
};

TEST(HfVocabulary, WhatIsNotSupportedIsRefusedByName) {
  const Refused kRefused[] = {
      {"model/type", R"("Unigram")", "D/tokenizer.json: model: type: \"Unigram\" (BPE is)"},
      {"model/type", R"("WordPiece")", "D/tokenizer.json: model: type: \"WordPiece\" (BPE is)"},
      {"model/type", R"("WordLevel")", "D/tokenizer.json: model: type: \"WordLevel\" (BPE is)"},
      {"model/dropout", "0.5", "D/tokenizer.json: model: dropout: a dropout"},
      {"model/end_of_word_suffix", R"("</w>")", "D/tokenizer.json: model: end_of_word_suffix: \"</w>\""},
      {"model/byte_fallback", "true",
       "D/tokenizer.json: decoder: byte_fallback without decoder ByteFallback"},
      {"normalizer", R"({"type": "BertNormalizer"})",
       "D/tokenizer.json: normalizer: normalizer \"BertNormalizer\""},
      {"normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Nmt"}]})",
       "D/tokenizer.json: normalizer: normalizers 1: normalizer \"Nmt\""},
      {"pre_tokenizer", R"({"type": "Whitespace"})",
       "D/tokenizer.json: pre_tokenizer: pre_tokenizer \"Whitespace\""},
      {"pre_tokenizer",
       R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})",
       "D/tokenizer.json: pre_tokenizer: pretokenizers 1: a step after ByteLevel"},
      {"decoder", R"({"type": "WordPiece"})", "D/tokenizer.json: decoder: decoder \"WordPiece\""},
      {"decoder", "null", "D/tokenizer.json: a tokenizer without a decoder"},
      {"post_processor", R"({"type": "RobertaProcessing"})",
       "D/tokenizer.json: post_processor: post_processor \"RobertaProcessing\""},
  };
  for (const Refused& refused : kRefused) {
    const Error error = refusal(with(refused.path, refused.value));
    EXPECT_EQ(error.code, Code::kNotSupported) << refused.path;
    EXPECT_EQ(error.message, std::string(refused.message) + " is not supported");
  }
}

TEST(HfVocabulary, WhatIsWrongIsRefusedNamingTheEntry) {
  const Refused kRefused[] = {
      {"model", "[]", "D/tokenizer.json: model: an array where an object belongs"},
      {"model/vocab", R"({"a": 0, "b": 0})", "D/tokenizer.json: model: vocab: id 0 is \"a\"'s and \"b\"'s"},
      {"model/vocab", R"({"a": -1})",
       "D/tokenizer.json: model: vocab: token \"a\" has the number -1 for its id"},
      {"model/vocab", R"({"a": 4294967295})",
       "D/tokenizer.json: model: vocab: token \"a\" has the number 4294967295 for its id"},
      {"model/vocab", R"({"a": "0"})", "D/tokenizer.json: model: vocab: token \"a\" has a string for its id"},
      {"model/vocab", R"({"": 0})", "D/tokenizer.json: model: vocab: token 0 has no text"},
      {"model/vocab", "[]", "D/tokenizer.json: model: vocab: it is no object of tokens"},
      {"model/merges", R"(["a b", "ab zz"])",
       "D/tokenizer.json: model: merges: merge 1: its right side is no token"},
      {"model/merges", R"(["a c"])", "D/tokenizer.json: model: merges: merge 0: its result is no token"},
      {"model/merges", R"(["ab"])", "D/tokenizer.json: model: merges: merge 0 is not two pieces"},
      {"model/merges", R"(["a b c"])", "D/tokenizer.json: model: merges: merge 0 is not two pieces"},
      {"model/merges", R"([["a", "b", "c"]])", "D/tokenizer.json: model: merges: merge 0 is not two pieces"},
      {"model/merges", R"([["a", ""]])", "D/tokenizer.json: model: merges: merge 0 is not two pieces"},
      {"model/merges", R"([["a", 1]])", "D/tokenizer.json: model: merges: merge 0 is not two pieces"},
      {"model/merges", "{}", "D/tokenizer.json: model: merges: it is no list of pairs"},
      {"model/unk_token", R"("<unk>")", "D/tokenizer.json: model: unk_token: \"<unk>\" is no token"},
      {"added_tokens", R"([{"id": 0, "content": "x"}])",
       "D/tokenizer.json: added_tokens 0: id: id 0 is \"a\"'s and \"x\"'s"},
      {"added_tokens", R"([{"id": 9, "content": "a"}])",
       "D/tokenizer.json: added_tokens 0: id: \"a\" is 9, in vocab 0"},
      {"added_tokens", R"([{"id": 9, "content": "x"}, {"id": 9, "content": "y"}])",
       "D/tokenizer.json: added_tokens 1: id: id 9 is \"x\"'s and \"y\"'s"},
      {"added_tokens", R"([{"id": 4000000000, "content": "x"}])",
       "D/tokenizer.json: added_tokens 0: id: \"x\" has none"},
      {"added_tokens", R"([{"id": 9, "content": ""}])",
       "D/tokenizer.json: added_tokens 0: content: the token has no text"},
      {"normalizer", R"({"type": "Sequence"})", "D/tokenizer.json: normalizer: normalizers: no list"},
      {"pre_tokenizer", R"({})", "D/tokenizer.json: pre_tokenizer: type: it is missing"},
  };
  for (const Refused& refused : kRefused) {
    const Error error = refusal(with(refused.path, refused.value));
    EXPECT_EQ(error.code, Code::kBadModelFile) << refused.path;
    EXPECT_EQ(error.message, refused.message);
  }
}

TEST(HfVocabulary, AMergeThatIsThereTwiceCountsWhereItIsLast) {
  json::object file = with("model/vocab", R"({"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4})");
  file["model"].as_object()["merges"] = json::parse(R"(["a b", "b c", "a b"])");
  file["added_tokens"] = json::array();
  const auto twice = Tokenizer::make(parse(file).value());
  ASSERT_TRUE(twice);
  EXPECT_EQ((*twice)->encode("abc", Specials::kPlainText), (Ids{0, 4}));
}

TEST(HfVocabulary, MergesThatMakeEachOtherEnd) {
  json::object file = with("model/vocab", R"({"a": 0, "aa": 1, "aaa": 2, "aaaa": 3})");
  file["model"].as_object()["merges"] =
      json::parse(R"(["a aa", "aa a", "a a", "aa aa", "aaa a", "a aaa", "a a"])");
  file["added_tokens"] = json::array();
  const auto tokenizer = Tokenizer::make(parse(file).value());
  ASSERT_TRUE(tokenizer);
  const Ids ids = (*tokenizer)->encode(std::string(100'000, 'a'), Specials::kPlainText);
  EXPECT_EQ((*tokenizer)->decode(ids).size(), 100'000u);
}

TEST(HfVocabulary, ControlTokensAreNotMadeByMerging) {
  json::object file = with("model/vocab", R"({"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 7})");
  file["model"].as_object()["merges"] = json::parse(R"(["< s", "<s >"])");
  file["pre_tokenizer"] =
      json::parse(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})");
  file["added_tokens"] = json::parse(R"([{"id": 7, "content": "<s>", "special": true}])");
  const auto tokenizer = Tokenizer::make(parse(file).value());
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ((*tokenizer)->encode("<s>", Specials::kPlainText), (Ids{3, 2}));
}

TEST(HfVocabulary, HugeTokensAreHeldAndHugeAddedOnesRefused) {
  const std::string huge(10 << 20, 'a');
  json::object file = small();
  file["model"].as_object()["vocab"].as_object()[huge] = 10;
  ASSERT_TRUE(Tokenizer::make(parse(file).value()));
  file["added_tokens"] = json::array{json::object{{"id", 11}, {"content", huge + "b"}}};
  const auto tokenizer = Tokenizer::make(parse(file).value());
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, Code::kBadModelFile);
}

// A prompt is refused by its bytes before it is encoded: the limit must hold for the most that one token
// takes.
TEST(HfVocabulary, ATokenTakesNoMoreBytesOfTextThanTheLimitSays) {
  const auto limit_of = [](const json::object& file) {
    const auto tokenizer = Tokenizer::make(parse(file).value());
    EXPECT_TRUE(tokenizer);
    return token_bytes_max(**tokenizer);
  };
  constexpr uint32_t kNoLimit = 0xffffffff;
  EXPECT_EQ(limit_of(small()), 7u) << "<think>";
  EXPECT_EQ(limit_of(with("normalizer", R"({"type": "NFC"})")), 21u);
  EXPECT_EQ(
      limit_of(with("normalizer", R"({"type": "Replace", "pattern": {"String": "aaaa"}, "content": "a"})")),
      35u);
  EXPECT_EQ(limit_of(with("normalizer", R"({"type": "Replace", "pattern": {"String": "a"}, "content": ""})")),
            kNoLimit);
  EXPECT_EQ(limit_of(with("model/fuse_unk", "true")), kNoLimit);
  EXPECT_EQ(limit_of(with("added_tokens", R"([{"id": 7, "content": "<s>", "lstrip": true}])")), kNoLimit);
  EXPECT_EQ(limit_of(with("pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
                              {"type": "Split", "pattern": {"String": "x"}, "behavior": "Removed"},
                              {"type": "ByteLevel", "add_prefix_space": false}]})")),
            kNoLimit);
}

TEST(HfVocabulary, TextThatIsNoJsonIsRefusedWithItsOffset) {
  HfTokenizerFiles files{.directory = "D", .tokenizer = R"({"model": )"};
  EXPECT_EQ(parse_hf_vocabulary(files).error().code, Code::kBadModelFile);
  files.tokenizer = std::string(100'000, '[');
  EXPECT_EQ(parse_hf_vocabulary(files).error().code, Code::kBadModelFile);
  files.tokenizer = "{}";
  EXPECT_EQ(parse_hf_vocabulary(files).error().message, "D/tokenizer.json: model: it is missing");
}

}  // namespace
}  // namespace deepserve::runner
