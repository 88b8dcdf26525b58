// The regular expressions of well-known models as plain code: what they cut is the same, at many times the
// speed.
//
// Sources: GPT-2's encoder.py (Radford et al. 2019) and the published tokenizer.json of Qwen2 (Qwen3, and the
// R1 distillations, have the same), Llama 3 and DeepSeek-V3.
#pragma once

#include <cstddef>
#include <string_view>

#include "runner/model/tokenizer/unicode_categories.h"

namespace deepserve::runner {

// Where the match that begins at `at` ends, else `at`: none begins there. `at` < text.size(), `text` is valid
// UTF-8. Takes time linear in the match, or in the run of white space there.
using MatchEnd = size_t (*)(const CategoryTable& table, std::string_view text, size_t at);

// Null: it is not one of them.
MatchEnd scanner_for(std::string_view expression);

inline constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kDeepSeekV3Expression =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kDigitExpression = R"(\p{N})";
inline constexpr std::string_view kThreeDigitsExpression = R"(\p{N}{1,3})";
inline constexpr std::string_view kCjkExpression = "[一-龥\u3040-ゟ゠-ヿ]+";
inline constexpr std::string_view kTrailingSpacesExpression = R"(\s+$)";

}  // namespace deepserve::runner
