#include "runner/model/tokenizer/unicode_normalization.h"

#include <gtest/gtest.h>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

std::string in(NormalForm form, std::string_view text) {
  std::string changed;
  return std::string(normalize(text, form, changed));
}

TEST(UnicodeNormalization, TheExamplesOfTheStandard) {
  const std::pair<std::string_view, std::string_view> kComposed[] = {
      {"e\u0301", "é"},
      {"\u212b", "Å"},
      {"\u1e0b\u0323", "\u1e0d\u0307"},    // a mark of a lower class goes first
      {"q\u0307\u0323", "q\u0323\u0307"},  // no composition, still ordered
      {"a\u0301\u0301", "á\u0301"},        // the second is blocked
      {"\u1112\u1161\u11ab", "한"},        // conjoining jamo
      {"\u0958", "\u0915\u093c"},          // excluded from composition
      {"\u03b1\u0345\u0301", "\u1fb4"},
      {"\u2f800", "\u2f800"},  // U+2F80 and a zero: U+2F80 stays in NFC
  };
  for (const auto& [text, composed] : kComposed) EXPECT_EQ(in(NormalForm::kNfc, text), composed) << text;
  EXPECT_EQ(in(NormalForm::kNfd, "é한"), "e\u0301\u1112\u1161\u11ab");
  EXPECT_EQ(in(NormalForm::kNfkc, "ﬁ２\u1e9b\u0323"), "fi2\u1e69");
  EXPECT_EQ(in(NormalForm::kNfkd, "①é"), "1e\u0301");
}

TEST(UnicodeNormalization, TextInTheFormIsNotCopied) {
  std::string changed;
  for (std::string_view text : {"", "plain", "naïve 你好 한국어 привет \U0001f600", "\xff\xc3"}) {
    EXPECT_EQ(normalize(text, NormalForm::kNfc, changed).data(), text.data()) << text;
  }
}

TEST(UnicodeNormalization, BytesThatAreNoUtf8Stay) {
  EXPECT_EQ(in(NormalForm::kNfc,
               "\xff"
               "e\u0301\xc3"
               "e\u0301"),
            "\xff"
            "é\xc3"
            "é");
  EXPECT_EQ(in(NormalForm::kNfc, "e\xff\u0301"), "e\xff\u0301");
}

TEST(UnicodeNormalization, CharactersYoungerThanUnicode9AreLeftAlone) {
  EXPECT_EQ(in(NormalForm::kNfd, "\U00011938"), "\U00011938");
  EXPECT_EQ(in(NormalForm::kNfc, "\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(in(NormalForm::kNfc, "a\u0345\u07fd"), "a\u0345\u07fd");
}

TEST(UnicodeNormalization, EveryCodePointIsStableOnceNormalized) {
  for (NormalForm form : {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
    for (char32_t c = 1; c < 0x110000; c += c < 0x30000 ? 1 : 97) {
      if (c >= 0xd800 && c < 0xe000) continue;
      std::string text;
      append_utf8(text, c);
      const std::string once = in(form, text);
      ASSERT_EQ(in(form, once), once) << static_cast<uint32_t>(c);
    }
  }
}

TEST(UnicodeNormalization, AMegabyteOfMarksIsOrderedWithoutASquare) {
  std::string text = "a", marks;
  while (text.size() < (1 << 20)) text += "\u0301\u0323";
  const std::string composed = in(NormalForm::kNfc, text);
  EXPECT_EQ(composed.size(), text.size());
  EXPECT_TRUE(composed.starts_with("\u1ea1\u0323\u0323"));
}

}  // namespace
}  // namespace deepserve::runner
