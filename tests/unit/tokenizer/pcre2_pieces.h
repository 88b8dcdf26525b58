// An independent engine for the expressions that text is cut by: PCRE2's.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {

// `expression` in PCRE2's dialect: its \s counts U+180E, its ^ and $ are not of a line.
inline std::string in_pcre2(std::string_view expression) {
  constexpr std::string_view kWhite =
      "\\x{9}-\\x{d} \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
  std::string made;
  bool in_set = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const std::string_view two = expression.substr(i, 2);
    if (two == "\\s" || two == "\\S") {
      made += in_set ? "" : two == "\\s" ? "[" : "[^";
      made.append(kWhite).append(in_set ? "" : "]");
      ++i;
    } else if (two == "\\u") {
      made.append("\\x{").append(expression.substr(i + 2, 4)).append("}");
      i += 5;
    } else if (two[0] == '\\') {
      made.append(two);
      ++i;
    } else if (!in_set && (two[0] == '$' || two[0] == '^')) {
      made.append("(?m:").append(1, two[0]).append(")");
    } else {
      in_set = two[0] == '[' || (in_set && two[0] != ']');
      made += two[0];
    }
  }
  return made;
}

class Pcre2Pattern {
 public:
  explicit Pcre2Pattern(std::string_view expression) {
    const std::string text = in_pcre2(expression);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP,
                          &error, &offset, nullptr);
    EXPECT_NE(code_, nullptr) << text << " at " << offset;
    match_ = pcre2_match_data_create(1, nullptr);
  }
  Pcre2Pattern(const Pcre2Pattern&) = delete;
  ~Pcre2Pattern() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }

  // Matches and what lies between them.
  std::vector<std::string_view> pieces(std::string_view text) const {
    std::vector<std::string_view> pieces;
    size_t done = 0;
    while (done < text.size()) {
      if (pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), done, 0, match_,
                      nullptr) < 0)
        break;
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_);
      if (range[0] > done) pieces.push_back(text.substr(done, range[0] - done));
      pieces.push_back(text.substr(range[0], range[1] - range[0]));
      done = range[1];
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
    return pieces;
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* match_;
};

// Text of few characters of each kind, so that every alternative and its neighbours come up.
inline std::string random_text(std::mt19937& random) {
  static constexpr char32_t kCharacters[] = {
      'a',    's',    'S',    't',    'T',    'r',    'e',    'E',    'v',     'm',     'l',     'L',
      'd',    'D',    'x',    'Z',    '0',    '1',    '9',    ' ',    ' ',     ' ',     '\n',    '\n',
      '\r',   '\t',   '\v',   '\'',   '\'',   '!',    '.',    '/',    '+',     '$',     '_',     '<',
      '^',    0x0,    0x1f,   0x7f,   0x85,   0xa0,   0xb2,   0xe9,   0x17f,   0x301,   0x300,   0x660,
      0x93f,  0x180e, 0x2003, 0x200d, 0x2028, 0x2160, 0x20ac, 0x2014, 0x3000,  0x3002,  0x3042,  0x30ab,
      0x4e2d, 0x9fa5, 0x9fa6, 0xac00, 0xfeff, 0xff01, 0xff15, 0xe000, 0x1d400, 0x1f600, 0x20000, 0x10ffff};
  std::string text;
  for (size_t left = 1 + random() % 24; left > 0; --left) {
    const char32_t character = kCharacters[random() % std::size(kCharacters)];
    for (size_t times = random() % 8 == 0 ? 1 + random() % 5 : 1; times > 0; --times)
      append_utf8(text, character);
  }
  return text;
}

}  // namespace deepserve::runner
