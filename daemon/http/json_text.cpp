#include "daemon/http/json_text.h"

#include <charconv>
#include <cmath>

#include "ipc/base/utf8.h"

namespace deepserve::daemon {
namespace {

// The characters that stand for themselves inside a JSON string, other than those of several bytes.
bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

void append_control(std::string& out, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += "\\u00";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

// The length of the one valid character that `text` begins with; 0 when it begins with none.
size_t character_bytes(std::string_view text) {
  const Utf8Step step = utf8_step(text);
  return step.kind == Utf8Kind::kCharacter ? step.bytes : 0;
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  const size_t valid_bytes = utf8_valid_prefix(text);
  return valid_bytes == text.size() ? std::string_view::npos : valid_bytes;
}

void append_json_escaped(std::string& out, std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t begin = at;
    while (at < text.size() && is_plain(text[at])) ++at;
    out.append(text, begin, at - begin);
    if (at == text.size()) return;
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      append_control(out, text[at++]);
      continue;
    }
    const size_t size = character_bytes(text.substr(at));
    if (size == 0) {
      out += kReplacementCharacter;
      ++at;
    } else {
      out.append(text, at, size);
      at += size;
    }
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_number(std::string& out, uint64_t value) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, static_cast<size_t>(end - text));
}

void append_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, static_cast<size_t>(end - text));
}

void append_hex16(std::string& out, uint64_t value) {
  constexpr char kHex[] = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) out += kHex[(value >> shift) & 15];
}

std::string hex16(uint64_t value) {
  std::string out;
  append_hex16(out, value);
  return out;
}

}  // namespace deepserve::daemon
