#include <gtest/gtest.h>

#include "ctl/json_rows.h"
#include "ctl/session.h"
#include "ctl/shell_completion.h"
#include "ctl/table.h"
#include "ctl/terminal.h"
#include "ctl/toml_text.h"
#include "ctl/units.h"

namespace deepserve::ctl {
namespace {

TEST(VisibleText, ControlCharactersBecomePictures) {
  EXPECT_EQ(visible_text("a\x1b[2Jb\a\x7f\r"), "a\u241b[2Jb\u2407\u2421\u240d");
  EXPECT_EQ(visible_text(std::string_view("\0", 1)), "\u2400");
}

TEST(VisibleText, NewlineAndTabStayInTextAndGoInALine) {
  EXPECT_EQ(visible_text("a\n\tb"), "a\n\tb");
  EXPECT_EQ(visible_line("a\n\tb"), "a\u240a\u2409b");
}

TEST(VisibleText, Utf8StaysAndWhatIsNoneIsReplaced) {
  EXPECT_EQ(visible_text("Grüße, 世界 🦊"), "Grüße, 世界 🦊");
  EXPECT_EQ(visible_text("\xc2\x9b"
                         "31m"),
            "\ufffd31m")
      << "a C1 control sequence introducer";
  EXPECT_EQ(visible_text("\x9b"
                         "31m"),
            "\ufffd31m");
  EXPECT_EQ(visible_text("\xe4\xb8"), "\ufffd\ufffd") << "cut off";
  EXPECT_EQ(visible_text("\xed\xa0\x80"), "\ufffd\ufffd\ufffd") << "a surrogate";
  EXPECT_EQ(visible_text("\xc0\xaf"), "\ufffd\ufffd") << "overlong";
}

TEST(CutToColumns, CountsCharactersNotBytes) {
  EXPECT_EQ(cut_to_columns("Grüße", 5), "Grüße");
  EXPECT_EQ(cut_to_columns("Grüße", 4), "Grü…");
  EXPECT_EQ(cut_to_columns("abc", 1), "…");
  EXPECT_EQ(cut_to_columns("abc", 0), "");
}

Table two_columns() {
  Table table({{"NAME"}, {"COUNT", Align::kRight}});
  table.add_row({{"a-long-name-that-goes-on-and-on"}, {"7"}});
  table.add_row({{"ü\n"}, {"1,000"}});
  return table;
}

TEST(TableOfText, ColumnsAlignAndAreWholeWhereNoTerminalIs) {
  EXPECT_EQ(two_columns().render({}),
            "NAME                             COUNT\n"
            "a-long-name-that-goes-on-and-on      7\n"
            "ü␊                               1,000\n");
}

TEST(TableOfText, OnATerminalTheWidestColumnIsCutToFit) {
  const Terminal narrow{.out_is_terminal = true, .err_is_terminal = true, .color = false, .columns = 20};
  EXPECT_EQ(two_columns().render(narrow),
            "NAME           COUNT\n"
            "a-long-name-…      7\n"
            "ü␊             1,000\n");
}

TEST(Units, ReadAsPeopleWriteThem) {
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(7 * 1024 * 1024 + 200 * 1024), "7.2 MiB");
  EXPECT_EQ(human_duration(0.44), "0.4 s");
  EXPECT_EQ(human_duration(185), "3 min 5 s");
  EXPECT_EQ(human_duration(7620), "2 h 7 min");
  EXPECT_EQ(human_duration(1e300).substr(0, 3), "115");
  EXPECT_EQ(human_duration(-1), "-");
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1234567), "1,234,567");
}

TEST(JsonRows, MissingAndNullFieldsAreADash) {
  const auto row = parse_json(R"({"a":null,"b":"","c":[],"d":["x","y"],"e":1.5,"f":-3})").value();
  for (const char* name : {"a", "b", "c", "zzz"}) EXPECT_EQ(text_of(row, name), "-") << name;
  EXPECT_EQ(text_of(row, "d"), "x, y");
  EXPECT_EQ(text_of(row, "e"), "1.5");
  EXPECT_EQ(count_of(row, "f"), "-");
  EXPECT_EQ(text_of(parse_json("[1]").value(), "a"), "-");
}

TEST(JsonRows, WhatIsNoJsonIsAnError) {
  EXPECT_FALSE(parse_json("{\"a\":").has_value());
}

TEST(TomlText, TablesComeAfterTheValuesOfTheirParent) {
  const auto config =
      parse_json(R"({"server":{"listen":["unix:a"],"limits":{"x":1}},"device":[{"name":"cpu0","cores":[0,1]}],
                                     "share":0.7,"whole":2.0,"odd key":"q\"","none":null})");
  EXPECT_EQ(toml_text(*config),
            "share = 0.7\nwhole = 2.0\n\"odd key\" = \"q\\\"\"\n"
            "\n[server]\nlisten = [\"unix:a\"]\n"
            "\n[server.limits]\nx = 1\n"
            "\n[[device]]\nname = \"cpu0\"\ncores = [0, 1]\n");
}

TEST(PathSegment, EncodesWhatWouldEndThePath) {
  EXPECT_EQ(path_segment("tiny@cpu0"), "tiny@cpu0");
  EXPECT_EQ(path_segment("a/b?c d\n"), "a%2Fb%3Fc%20d%0A");
  EXPECT_EQ(path_segment("ü"), "%C3%BC");
}

TEST(ShellCompletion, OffersSubcommandsAndOptions) {
  const CommandTree root{"dsctl", "", {"--json"}, {{"model", "Models", {}, {{"ls", "List", {}, {}}}}}};
  EXPECT_NE(completion_script("bash", root).find("\"model\") words=\"ls --json\""), std::string::npos);
  EXPECT_NE(completion_script("zsh", root).find("bashcompinit"), std::string::npos);
  EXPECT_NE(completion_script("fish", root).find("-a ls -d 'List'"), std::string::npos);
}

}  // namespace
}  // namespace deepserve::ctl
