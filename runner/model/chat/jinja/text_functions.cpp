#include "runner/model/chat/jinja/text_functions.h"

#include <algorithm>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner::jinja {
namespace {

size_t first_character_bytes(std::string_view text) {
  return utf8_step(text).bytes;
}

size_t last_character_bytes(std::string_view text) {
  size_t bytes = 1;
  while (bytes < text.size() && bytes < 4 &&
         (static_cast<unsigned char>(text[text.size() - bytes]) & 0xc0) == 0x80)
    ++bytes;
  return bytes;
}

bool is_space(std::string_view character) {
  return utf8_step(character).kind == Utf8Kind::kCharacter && is_python_space(utf8_code_point(character));
}

bool is_in(std::string_view character, std::optional<std::string_view> set) {
  if (!set) return is_space(character);
  for (std::string_view rest = *set; !rest.empty(); rest.remove_prefix(first_character_bytes(rest))) {
    if (rest.substr(0, first_character_bytes(rest)) == character) return true;
  }
  return false;
}

std::string_view without_spaces_left(std::string_view text) {
  while (!text.empty() && is_space(text.substr(0, first_character_bytes(text))))
    text.remove_prefix(first_character_bytes(text));
  return text;
}

Result<std::vector<MarkedText>> split_at_spaces(const MarkedText& text, int64_t count, Budget& budget) {
  std::vector<MarkedText> parts;
  std::string_view rest = without_spaces_left(text.bytes());
  while (!rest.empty()) {
    TRY(budget.take_bytes(kPartBytes));
    size_t end = 0;
    if (count >= 0 && static_cast<int64_t>(parts.size()) == count) {
      const MarkedText last = text.slice(rest);
      parts.push_back(strip(last, Side::kRight, std::nullopt));
      break;
    }
    while (end < rest.size()) {
      const std::string_view here = rest.substr(end);
      if (is_space(here.substr(0, first_character_bytes(here)))) break;
      end += first_character_bytes(here);
    }
    parts.push_back(text.slice(rest.substr(0, end)));
    rest = without_spaces_left(rest.substr(end));
  }
  return parts;
}

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

}  // namespace

MarkedText strip(const MarkedText& text, Side side, std::optional<std::string_view> set) {
  std::string_view kept = text.bytes();
  while (side != Side::kRight && !kept.empty()) {
    const size_t bytes = first_character_bytes(kept);
    if (!is_in(kept.substr(0, bytes), set)) break;
    kept.remove_prefix(bytes);
  }
  while (side != Side::kLeft && !kept.empty()) {
    const size_t bytes = last_character_bytes(kept);
    if (!is_in(kept.substr(kept.size() - bytes), set)) break;
    kept.remove_suffix(bytes);
  }
  return text.slice(kept);
}

Result<std::vector<MarkedText>> split(const MarkedText& text, std::optional<std::string_view> separator,
                                      int64_t count, Budget& budget) {
  if (!separator) return split_at_spaces(text, count, budget);
  if (separator->empty()) return fail(Code::kInvalidRequest, "split() by nothing");
  std::vector<MarkedText> parts;
  std::string_view rest = text.bytes();
  while (count < 0 || static_cast<int64_t>(parts.size()) < count) {
    const size_t at = rest.find(*separator);
    if (at == rest.npos) break;
    TRY(budget.take_bytes(kPartBytes));
    parts.push_back(text.slice(rest.substr(0, at)));
    rest.remove_prefix(at + separator->size());
  }
  parts.push_back(text.slice(rest));
  return parts;
}

Result<std::vector<MarkedText>> split_from_right(const MarkedText& text, std::string_view separator,
                                                 int64_t count, Budget& budget) {
  if (separator.empty()) return fail(Code::kInvalidRequest, "rsplit() by nothing");
  std::vector<MarkedText> parts;
  std::string_view rest = text.bytes();
  while (count < 0 || static_cast<int64_t>(parts.size()) < count) {
    const size_t at = rest.rfind(separator);
    if (at == rest.npos) break;
    TRY(budget.take_bytes(kPartBytes));
    parts.push_back(text.slice(rest.substr(at + separator.size())));
    rest = rest.substr(0, at);
  }
  parts.push_back(text.slice(rest));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Result<std::vector<MarkedText>> split_lines(const MarkedText& text, Budget& budget) {
  constexpr std::string_view kBreaks[] = {"\r\n", "\n",   "\r",       "\v",           "\f",          "\x1c",
                                          "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
  std::vector<MarkedText> lines;
  std::string_view rest = text.bytes();
  size_t end = 0;
  while (end < rest.size()) {
    const auto* found = std::find_if(std::begin(kBreaks), std::end(kBreaks),
                                     [&](std::string_view one) { return rest.substr(end).starts_with(one); });
    if (found == std::end(kBreaks)) {
      ++end;
      continue;
    }
    TRY(budget.take_bytes(kPartBytes));
    lines.push_back(text.slice(rest.substr(0, end)));
    rest.remove_prefix(end + found->size());
    end = 0;
  }
  if (!rest.empty()) lines.push_back(text.slice(rest));
  return lines;
}

Result<MarkedText> replace(const MarkedText& text, std::string_view old_part, const MarkedText& new_part,
                           int64_t count, Budget& budget) {
  if (old_part.empty()) return fail(Code::kInvalidRequest, "replace() of nothing");
  TRY(budget.take_bytes(text.memory_bytes()));
  MarkedText made;
  size_t done = 0;
  for (; count != 0; --count) {
    const size_t at = text.bytes().find(old_part, done);
    if (at == std::string_view::npos) break;
    TRY(budget.take_bytes(new_part.memory_bytes() + sizeof(MarkedText::Run)));
    made.append(text, done, at);
    made.append(new_part);
    done = at + old_part.size();
  }
  made.append(text, done, text.size());
  return made;
}

Result<MarkedText> change_case(const MarkedText& text, LetterCase wanted) {
  MarkedText made;
  bool in_word = false;
  size_t at = 0;
  for (const MarkedText::Run& run : text.runs()) {
    std::string changed;
    for (; at < run.end; ++at) {
      char c = text.bytes()[at];
      if (static_cast<unsigned char>(c) >= 0x80)
        return fail(Code::kNotSupported, "the case of letters beyond ASCII is not supported");
      const bool up = wanted == LetterCase::kUpper ||
                      (wanted != LetterCase::kLower && (wanted == LetterCase::kTitle ? !in_word : at == 0));
      in_word = is_lower(c) || is_upper(c);
      if (up && is_lower(c)) c = static_cast<char>(c - 'a' + 'A');
      if (!up && is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
      changed += c;
    }
    made.append(changed, run.author);
  }
  return made;
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Result<std::vector<MarkedText>> characters(const MarkedText& text, Budget& budget) {
  TRY(budget.take_bytes(count_characters(text.bytes()) * kPartBytes));
  std::vector<MarkedText> made;
  for (std::string_view rest = text.bytes(); !rest.empty();) {
    const size_t bytes = first_character_bytes(rest);
    made.push_back(text.slice(rest.substr(0, bytes)));
    rest.remove_prefix(bytes);
  }
  return made;
}

MarkedText slice_characters(const MarkedText& text, size_t begin, size_t count) {
  std::string_view rest = text.bytes();
  for (; begin > 0; --begin) rest.remove_prefix(first_character_bytes(rest));
  size_t bytes = 0;
  for (; count > 0; --count) bytes += first_character_bytes(rest.substr(bytes));
  return text.slice(rest.substr(0, bytes));
}

}  // namespace deepserve::runner::jinja
