// GBNF: what is admitted, and what is refused with its place.
#include <chrono>

#include "tests/unit/grammar/language.h"

namespace deepserve::runner::testing {
namespace {

TEST(Gbnf, SequencesAlternativesAndGroupsAreFollowed) {
  const auto language = gbnf("root ::= \"a\" (\"b\" | \"cd\") tail\ntail ::= \"!\" | \"?\"");
  for (const char* text : {"ab!", "acd?", "ab?"}) EXPECT_TRUE(language.admits(text)) << text;
  for (const char* text : {"", "ac!", "ab!!", "b!"}) EXPECT_FALSE(language.admits(text)) << text;
  EXPECT_EQ(language.read("ac"), Reading::kBegun);
}

TEST(Gbnf, RepetitionsCountTheWholeSymbolBeforeThem) {
  const auto language = gbnf("root ::= \"ab\"{2,3} \"c\"* \"d\"+ \"e\"? \"f\"{2} \"g\"{1,}");
  for (const char* text : {"ababdffg", "abababcccddeffggg"}) EXPECT_TRUE(language.admits(text)) << text;
  for (const char* text : {"abdffg", "abababdfg", "ababdff", "ababababdffg", "abbdffg"})
    EXPECT_FALSE(language.admits(text)) << text;
}

TEST(Gbnf, LargeRepetitionsAreExact) {
  for (const uint32_t count : {63u, 64u, 65u, 127u, 128u, 1000u, 4097u}) {
    const auto range = gbnf(fmt::format("root ::= \"<\" ([a-z] | [0-9] \".\"){{5,{}}} \">\"", count));
    const auto exact = gbnf(fmt::format("root ::= ([a-z] | [0-9] \".\"){{{}}} \">\"", count));
    const auto with = [&](size_t characters) { return fmt::format("<{}>", std::string(characters, 'x')); };
    EXPECT_TRUE(range.admits(with(5))) << count;
    EXPECT_TRUE(range.admits(with(count))) << count;
    EXPECT_TRUE(range.admits(with(count - 1))) << count;
    EXPECT_FALSE(range.admits(with(4))) << count;
    EXPECT_FALSE(range.admits(with(count + 1))) << count;
    EXPECT_TRUE(exact.admits(std::string(count, 'x') + ">")) << count;
    EXPECT_FALSE(exact.admits(std::string(count - 1, 'x') + ">")) << count;
    EXPECT_FALSE(exact.admits(std::string(count + 1, 'x') + ">")) << count;
  }
}

TEST(Gbnf, ClassesAreOfCharactersNotBytes) {
  const auto language =
      gbnf("root ::= [a-c\xc3\xa9\xe3\x81\x81-\xe3\x82\x9f] [^x\\n] . \"\\u20ac\\U0001F600\\x41\"");
  const std::string tail =
      "\xe2\x82\xac\xf0\x9f\x98\x80"
      "A";
  for (const char* head : {"azz", "\xc3\xa9\xc3\xa9\n", "\xe3\x81\x82\xf0\x9f\x98\x80\xe2\x82\xac"})
    EXPECT_TRUE(language.admits(head + tail)) << head;
  for (const char* head : {"axz", "a\nz", "dzz", "\xe3\x82\xa1zz", "a\xc3z"})
    EXPECT_FALSE(language.admits(head + tail)) << head;
  EXPECT_EQ(language.read("a\xf0\x9f"), Reading::kBegun);
  EXPECT_EQ(language.read("a\xed\xa0"), Reading::kWrong) << "a surrogate";
  EXPECT_EQ(language.read("a\xc0"), Reading::kWrong) << "an overlong spelling";
  EXPECT_EQ(language.read("a\xf4\x90"), Reading::kWrong) << "beyond U+10FFFF";
}

TEST(Gbnf, CommentsNewLinesAndLaterRulesAreFollowed) {
  const auto language = gbnf(
      "# a list\nroot ::= (  # opened\n  item\n  (\",\" item)*\n)\n\nitem ::=\n  \"x\" |\n  \"y\"\n  | "
      "[-^\\]\\\\]\n");
  for (const char* text : {"x", "x,y,x", "-,^,],\\"}) EXPECT_TRUE(language.admits(text)) << text;
  EXPECT_FALSE(language.admits("x,"));
}

TEST(Gbnf, RecursionIsFollowedAsDeeplyAsTheTextGoes) {
  const auto language = gbnf("root ::= \"(\" root* \")\" | \"[\" root \"]\" | \"x\"");
  for (const char* text : {"x", "()", "(x()(x))", "[([x])]"}) EXPECT_TRUE(language.admits(text)) << text;
  for (const char* text : {"[]", "(]", "((x)", "xx"}) EXPECT_FALSE(language.admits(text)) << text;
  EXPECT_TRUE(language.admits(std::string(20'000, '(') + std::string(20'000, ')')));
}

TEST(Gbnf, RightRecursionAndEmptyRulesAreFollowed) {
  const auto language = gbnf("root ::= ws \"a\" list ws\nlist ::= | \",b\" list\nws ::= ([ \\t] ws)?");
  for (const char* text : {"a", "  a,b,b  ", "a,b"}) EXPECT_TRUE(language.admits(text)) << text;
  EXPECT_FALSE(language.admits("a,"));
  EXPECT_TRUE(gbnf("root ::= (ws)* \"a\"\nws ::= \" \"*").admits("   a"));
}

TEST(Gbnf, AmbiguityIsNoMistake) {
  const auto language = gbnf("root ::= e\ne ::= \"a\" e | \"a\" e \"b\" | \"a\"");
  EXPECT_TRUE(language.admits("aaaab"));
  EXPECT_TRUE(language.admits(std::string(100, 'a') + std::string(50, 'b')));
  EXPECT_FALSE(language.admits("aabb"));
}

struct Refused {
  const char* source;
  Code code;
  const char* why;
};

TEST(Gbnf, WhatIsWrongIsNamedWithItsPlace) {
  const Refused cases[] = {
      {"", Code::kInvalidRequest, "no rule root"},
      {"rot ::= \"a\"", Code::kInvalidRequest, "no rule root"},
      {"root ::= a", Code::kInvalidRequest, "line 1, column 10: rule a is used but not defined"},
      {"root ::= \"a\"\nroot ::= \"b\"", Code::kInvalidRequest,
       "line 2, column 1: rule root is defined twice"},
      {"root = \"a\"", Code::kInvalidRequest, "line 1, column 6: ::= is expected"},
      {"root ::= \"a", Code::kInvalidRequest, "a literal does not end"},
      {"root ::= [a", Code::kInvalidRequest, "a class of characters does not end"},
      {"root ::= [z-a]", Code::kInvalidRequest, "ends before it begins"},
      {"root ::= (\"a\"", Code::kInvalidRequest, ") is expected"},
      {"root ::= \"a\")", Code::kInvalidRequest, "a new line or the end is expected"},
      {"root ::= *", Code::kInvalidRequest, "line 1, column 10"},
      {"root ::= \"\\q\"", Code::kInvalidRequest, "an unknown escape"},
      {"root ::= \"\\u12\"", Code::kInvalidRequest, "4 hexadecimal digits"},
      {"root ::= \"\\ud800\"", Code::kInvalidRequest, "no Unicode character"},
      {"root ::= \"\xff\"", Code::kInvalidRequest, "not UTF-8"},
      {"root ::= \"a\"{3,2}", Code::kInvalidRequest, "below its smallest"},
      {"root ::= \"a\"{1,1000000}", Code::kNotSupported, "a repetition of more than 65536"},
      {"root ::= <think>", Code::kNotSupported, "tokens in angle brackets"},
      {"root ::= root \"a\" | \"a\"", Code::kNotSupported, "rule root is left-recursive"},
      {"root ::= \"x\" a\na ::= b\nb ::= [y]? a \"z\"", Code::kNotSupported, "is left-recursive"},
      {"root ::= a\na ::= a", Code::kNotSupported, "rule a is left-recursive"},
      {"root ::= \"a\" root", Code::kInvalidRequest, "no finite text can match"},
      {"root ::= []", Code::kInvalidRequest, "no finite text can match"},
  };
  for (const Refused& refused : cases) {
    const auto language = gbnf(refused.source);
    EXPECT_EQ(language.code(), refused.code) << refused.source;
    EXPECT_THAT(language.error(), ::testing::HasSubstr(refused.why)) << refused.source;
  }
}

// Each of them would take minutes or gigabytes if nothing bounded it.
TEST(Gbnf, HostileGrammarsAreAnsweredSoon) {
  std::string doubling = "root ::= a0\n";
  for (int i = 0; i < 40; ++i) doubling += fmt::format("a{} ::= a{} a{}\n", i, i + 1, i + 1);
  doubling += "a40 ::= \"x\"?\n";
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 4000; ++i) chain += fmt::format("r{} ::= \"x\" r{} | \"y\"\n", i, i + 1);
  chain += "r4000 ::= \"z\"\n";
  std::string optionals = "root ::= ";
  for (int i = 0; i < 20'000; ++i) optionals += "\"x\"? ";
  const std::string sources[] = {
      "root ::= " + std::string(100'000, '('),
      "root ::= ((((((((\"a\"{60}){60}){60}){60}){60}){60}){60}){60})",
      "root ::= (\"a\" | \"b\")* \"a\" (\"a\" | \"b\"){30}",
      "root ::= ((\"a\"?){200}){200}",
      "root ::= " + std::string(kGrammarBytesMax, '.'),
      "root ::= [" + std::string(kGrammarBytesMax - 100, 'x') + "]",
      std::string(kGrammarBytesMax + 1, ' '),
      doubling,
      chain,
      optionals,
  };
  for (const std::string& source : sources) {
    const auto begin = std::chrono::steady_clock::now();
    const Language language(Grammar::from_gbnf(source));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took.count(), 2.0) << source.substr(0, 60);  // a sanitized build on a busy machine
    if (!language.error().empty()) continue;
    auto matcher = language.matcher();
    EXPECT_TRUE(matcher.allowed()) << source.substr(0, 60);
  }
}

TEST(Gbnf, WhatIsTooAmbiguousEndsWithAnErrorThatSaysSo) {
  // Each "a" may have been any of 400 rules, which all go on in their own way.
  std::string source = "root ::= x0";
  for (int i = 1; i < 400; ++i) source += fmt::format(" | x{}", i);
  for (int i = 0; i < 400; ++i) source += fmt::format("\nx{} ::= \"a\" x{} \"{}\" | \"b\"", i, i, i);
  const auto language = gbnf(source);
  ASSERT_EQ(language.error(), "");
  auto matcher = language.matcher();
  const auto allowed = matcher.allowed();
  if (allowed) {
    EXPECT_FALSE(matcher.accept('a'));
  } else {
    EXPECT_THAT(allowed.error().message, ::testing::HasSubstr("too ambiguous"));
  }
}

}  // namespace
}  // namespace deepserve::runner::testing
