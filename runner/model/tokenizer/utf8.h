// Text as whole characters, and what Python takes for white space.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ipc/base/utf8.h"

namespace deepserve::runner {

// Appends `text` to `out` with U+FFFD for every maximal subpart; returns how many bytes at the end are
// unfinished and were left out (0 to 3).
size_t append_whole_characters(std::string& out, std::string_view text);

// What Python's str.strip() and str.split() take for white space.
bool is_python_space(char32_t c);

}  // namespace deepserve::runner
