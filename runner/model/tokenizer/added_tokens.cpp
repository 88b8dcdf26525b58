#include "runner/model/tokenizer/added_tokens.h"

#include <algorithm>

#include "runner/model/tokenizer/unicode_categories.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

// As a regular expression's \w sees letters, but for a few circled ones.
constexpr CategorySet kWordCharacter = kLetter | kMark | CategorySet{1} << static_cast<int>(Category::kNd) |
                                       CategorySet{1} << static_cast<int>(Category::kNl) |
                                       CategorySet{1} << static_cast<int>(Category::kPc);

// The categories of the character at the beginning of `text`; none where there is none.
CategorySet first_of(std::string_view text) {
  if (text.empty()) return 0;
  const Utf8Step step = utf8_step(text);
  if (step.kind != Utf8Kind::kCharacter) return 0;
  return CategoryTable::get()[utf8_code_point(text.substr(0, step.bytes))];
}

std::string_view last_character(std::string_view text) {
  if (text.empty()) return text;
  size_t begin = text.size() - 1;
  while (begin > 0 && text.size() - begin < 4 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
  return text.substr(begin);
}

size_t white_space_before(std::string_view text) {
  size_t bytes = 0;
  while (true) {
    const std::string_view last = last_character(text.substr(0, text.size() - bytes));
    if ((first_of(last) & kWhiteSpace) == 0) return bytes;
    bytes += last.size();
  }
}

size_t white_space_after(std::string_view text) {
  size_t bytes = 0;
  while ((first_of(text.substr(bytes)) & kWhiteSpace) != 0) bytes += utf8_step(text.substr(bytes)).bytes;
  return bytes;
}

}  // namespace

void AddedTokens::add(std::string_view text, const AddedToken& token) {
  is_empty_ = false;
  texts_.add(text, token.id);
  if (token.strips_left || token.strips_right || token.whole_word) with_flags_.emplace(token.id, token);
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from) const {
  if (is_empty_) return std::nullopt;
  size_t search = from;
  while (const auto found = texts_.find(text, search)) {
    Match match{found->begin, found->begin + found->bytes, found->token};
    const auto with_flags = with_flags_.find(match.token);
    if (with_flags == with_flags_.end()) return match;
    const AddedToken& flags = with_flags->second;
    const std::string_view before = text.substr(0, match.begin);
    const std::string_view after = text.substr(match.end);
    const bool in_word = ((first_of(last_character(before)) | first_of(after)) & kWordCharacter) != 0;
    search = match.end;
    if (flags.whole_word && in_word) continue;
    if (flags.strips_left) match.begin = std::max(from, match.begin - white_space_before(before));
    if (flags.strips_right) match.end += white_space_after(after);
    return match;
  }
  return std::nullopt;
}

}  // namespace deepserve::runner
