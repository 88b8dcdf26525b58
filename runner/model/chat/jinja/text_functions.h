// Python's functions on str, for marked texts: whatever they cut or put together keeps its authors.
// Characters are code points. What makes many texts, or one larger than what it is made of, takes `budget`
// for them and fails with kInvalidRequest where that ends.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/budget.h"
#include "runner/model/chat/jinja/marked_text.h"

namespace deepserve::runner::jinja {

enum class Side : uint8_t { kLeft, kRight, kBoth };

// Without the characters of `set` (none: white space) at one end or both.
MarkedText strip(const MarkedText& text, Side side, std::optional<std::string_view> set);

// str.split(separator, count): none separates by runs of white space; a negative count has no end.
// kInvalidRequest for an empty separator.
Result<std::vector<MarkedText>> split(const MarkedText& text, std::optional<std::string_view> separator,
                                      int64_t count, Budget& budget);
// str.rsplit(): the first `count` separators from the right.
Result<std::vector<MarkedText>> split_from_right(const MarkedText& text, std::string_view separator,
                                                 int64_t count, Budget& budget);
Result<std::vector<MarkedText>> split_lines(const MarkedText& text, Budget& budget);

// kInvalidRequest for an empty `old_part`.
Result<MarkedText> replace(const MarkedText& text, std::string_view old_part, const MarkedText& new_part,
                           int64_t count, Budget& budget);

enum class LetterCase : uint8_t { kUpper, kLower, kTitle, kCapitalized };
// kNotSupported when there are letters beyond ASCII, whose cases are not known here.
Result<MarkedText> change_case(const MarkedText& text, LetterCase wanted);

size_t count_characters(std::string_view text);
Result<std::vector<MarkedText>> characters(const MarkedText& text, Budget& budget);
// The `count` characters from the `begin`th on, both within the text.
MarkedText slice_characters(const MarkedText& text, size_t begin, size_t count);

}  // namespace deepserve::runner::jinja
