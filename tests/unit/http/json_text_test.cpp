#include "daemon/http/json_text.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonText, EscapesWhatJsonWantsEscaped) {
  EXPECT_EQ(quoted("a\"b\\c\n\r\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"");
  EXPECT_EQ(quoted(std::string_view("\0", 1)), "\"\\u0000\"");
}

TEST(JsonText, LeavesCharactersOfSeveralBytesAlone) {
  EXPECT_EQ(quoted("gr\u00fc\u00dfe \u20ac \U0001f600"), "\"gr\u00fc\u00dfe \u20ac \U0001f600\"");
}

TEST(JsonText, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(quoted("a\xff"
                   "b"),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(quoted("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");  // cut off
}

TEST(JsonText, KnowsValidUtf8) {
  EXPECT_EQ(find_invalid_utf8("plain \u20ac \U0010ffff"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("ab\xc0\x80"), 2u);        // overlong NUL
  EXPECT_EQ(find_invalid_utf8("\xed\xa0\x80"), 0u);      // surrogate
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0u);  // beyond U+10FFFF
  EXPECT_EQ(find_invalid_utf8("x\xe2\x82"), 1u);
  EXPECT_EQ(find_invalid_utf8("\xf0\x80\x80\x80"), 0u);  // overlong
}

TEST(JsonText, PrintsNumbersAndIds) {
  std::string out;
  append_number(out, uint64_t{18446744073709551615u});
  out += ' ';
  append_number(out, -0.25);
  out += ' ';
  append_hex16(out, 0xabc);
  EXPECT_EQ(out, "18446744073709551615 -0.25 0000000000000abc");
}

}  // namespace
}  // namespace deepserve::daemon
