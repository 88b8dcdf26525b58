// The byte alphabet of GPT-2: one printable character for each byte, in which byte-level vocabularies spell
// tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace deepserve::runner {

// The character for `byte`.
char32_t byte_alphabet_character(unsigned char byte);

// The bytes that `spelling` spells; none when it holds a character outside the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

}  // namespace deepserve::runner
