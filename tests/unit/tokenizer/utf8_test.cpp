#include "runner/model/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

std::string whole(std::string_view text) {
  std::string out;
  append_whole_characters(out, text);
  return out;
}

TEST(Utf8, EveryCodePointIsReadBackAsItself) {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = utf8_step(text);
    ASSERT_EQ(step.kind, Utf8Kind::kCharacter) << uint32_t{c};
    ASSERT_EQ(step.bytes, text.size()) << uint32_t{c};
    ASSERT_EQ(uint32_t{utf8_code_point(text)}, uint32_t{c});
  }
}

TEST(Utf8, OverlongFormsSurrogatesAndTooLargeNumbersAreInvalid) {
  for (std::string_view text : {"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                "\xf4\x90\x80\x80", "\xf5\x80", "\xff", "\x80", "\xbf"}) {
    EXPECT_EQ(utf8_step(text).kind, Utf8Kind::kInvalid);
    EXPECT_EQ(utf8_step(text).bytes, 1u);
    EXPECT_EQ(utf8_valid_prefix(text), 0u);
  }
}

// The example of table 3-8 of the Unicode standard.
TEST(Utf8, EachMaximalSubpartBecomesOneReplacementCharacter) {
  EXPECT_EQ(whole("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"),
            "a\uFFFD\uFFFD\uFFFD"
            "b\uFFFD"
            "c\uFFFD\uFFFD"
            "d");
}

TEST(Utf8, AnUnfinishedEndIsReportedAndLeftOut) {
  std::string out;
  EXPECT_EQ(append_whole_characters(out, "ok\xf0\x9f\x98"), 3u);
  EXPECT_EQ(out, "ok");
  EXPECT_EQ(append_whole_characters(out, "\xe4\xbd"), 2u);
  EXPECT_EQ(append_whole_characters(out, "!"), 0u);
  EXPECT_EQ(out, "ok!");
}

TEST(Utf8, PythonsWhiteSpaceIsWiderThanAsciisAndHasNoZeroWidthSpace) {
  for (const char32_t space : std::u32string_view(U" \t\r\n\x1c\x1f\u0085\u00a0\u2003\u2028\u3000"))
    EXPECT_TRUE(is_python_space(space)) << static_cast<uint32_t>(space);
  for (const char32_t other : {U'a', U'\u200b', U'\ufeff'})
    EXPECT_FALSE(is_python_space(other)) << static_cast<uint32_t>(other);
}

}  // namespace
}  // namespace deepserve::runner
