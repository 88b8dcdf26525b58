// UTF-8 as the Unicode standard defines it (section 3.9): what is well formed, and what one U+FFFD stands for
// when it is not (maximal subparts, table 3-8). Pure functions on bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

enum class Utf8Kind : uint8_t {
  kCharacter,   // `bytes` are one well-formed character
  kInvalid,     // `bytes` are one maximal subpart that no following byte can save
  kUnfinished,  // the text ended inside a character that could still be completed
};

struct Utf8Step {
  Utf8Kind kind;
  size_t bytes;  // 1 to 4
};

// Looks at the beginning of `text`, which must not be empty.
Utf8Step utf8_step(std::string_view text);

// Bytes of the longest well-formed prefix; text.size() when all of it is.
size_t utf8_valid_prefix(std::string_view text);

// The code point of a well-formed character.
char32_t utf8_code_point(std::string_view character);
void append_utf8(std::string& text, char32_t code_point);

}  // namespace deepserve
