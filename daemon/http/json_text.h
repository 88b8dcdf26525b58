// JSON written by hand into a buffer: what is written per token must not build a document first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve::daemon {

// Where the first byte stands that is part of no valid character; npos when all of `text` is UTF-8.
size_t find_invalid_utf8(std::string_view text);

// Appends `text` as the inside of a JSON string, without the quotes. What is not UTF-8 becomes U+FFFD.
void append_json_escaped(std::string& out, std::string_view text);

// The same with the quotes.
void append_json_string(std::string& out, std::string_view text);

void append_number(std::string& out, uint64_t value);
void append_number(std::string& out,
                   double value);  // shortest text that reads back the same; JSON has no infinities: null

// 16 lower-case hexadecimal digits: how request ids are printed.
void append_hex16(std::string& out, uint64_t value);
std::string hex16(uint64_t value);

}  // namespace deepserve::daemon
