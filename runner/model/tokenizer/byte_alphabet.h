// How vocabularies spell bytes: the byte alphabet of GPT-2, one printable character for each, in which
// byte-level ones spell all tokens; and the "<0xNN>" of SentencePiece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace deepserve::runner {

// The character for `byte`.
char32_t byte_alphabet_character(unsigned char byte);

// The bytes that `spelling` spells; none when it holds a character outside the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

// The byte that "<0xNN>" stands for.
std::optional<uint8_t> byte_of_piece(std::string_view piece);

}  // namespace deepserve::runner
