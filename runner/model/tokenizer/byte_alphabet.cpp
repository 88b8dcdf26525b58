#include "runner/model/tokenizer/byte_alphabet.h"

#include <array>
#include <charconv>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr char32_t kAlphabetEnd = 0x144;  // 68 bytes that have no printable character got U+0100 and on

bool is_printable_latin1(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  Alphabet() {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      character_of[byte] = is_printable_latin1(byte) ? byte : next++;
      byte_of[character_of[byte]] = static_cast<int16_t>(byte);
    }
  }
  std::array<char32_t, 256> character_of;
  std::array<int16_t, kAlphabetEnd> byte_of;  // -1: no character of the alphabet
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

}  // namespace

char32_t byte_alphabet_character(unsigned char byte) {
  return alphabet().character_of[byte];
}

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
  const Alphabet& table = alphabet();
  std::string bytes;
  bytes.reserve(spelling.size());
  while (!spelling.empty()) {
    const Utf8Step step = utf8_step(spelling);
    if (step.kind != Utf8Kind::kCharacter) return std::nullopt;
    const char32_t character = utf8_code_point(spelling.substr(0, step.bytes));
    if (character >= kAlphabetEnd || table.byte_of[character] < 0) return std::nullopt;
    bytes += static_cast<char>(table.byte_of[character]);
    spelling.remove_prefix(step.bytes);
  }
  return bytes;
}

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  if (error != std::errc{} || end != piece.data() + 5) return std::nullopt;
  return byte;
}

}  // namespace deepserve::runner
