#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {

bool is_python_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

size_t append_whole_characters(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const size_t valid_bytes = utf8_valid_prefix(text);
    out.append(text.substr(0, valid_bytes));
    text.remove_prefix(valid_bytes);
    if (text.empty()) break;
    const Utf8Step step = utf8_step(text);
    if (step.kind == Utf8Kind::kUnfinished) return step.bytes;
    out.append(kReplacementCharacter);
    text.remove_prefix(step.bytes);
  }
  return 0;
}

}  // namespace deepserve::runner
