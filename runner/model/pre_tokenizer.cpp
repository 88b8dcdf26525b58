#include "runner/model/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <span>

#include "ipc/base/check.h"
#include "runner/model/utf8.h"

// Unicode's White_Space. Not PCRE2's \s, which counts U+180E that Hugging Face's engine does not.
#define WHITE                                                                                              \
  "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{" \
  "3000}"
#define SPACE "[" WHITE "]"
#define SPACES_TAIL SPACE "+(?![^" WHITE "])|" SPACE "+"

namespace deepserve::runner {
namespace {

constexpr const char* kDigit = "\\p{N}";

constexpr const char* kGpt2 =
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^" WHITE "\\p{L}\\p{N}]+|" SPACES_TAIL;

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define MARKS_AND_SPACES " ?[^" WHITE "\\p{L}\\p{N}]+[\\r\\n]*|" SPACE "*[\\r\\n]+|" SPACES_TAIL

constexpr const char* kQwen2 = CONTRACTIONS "|" WORDS "|\\p{N}|" MARKS_AND_SPACES;
constexpr const char* kLlama3 = CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" MARKS_AND_SPACES;

// The cased letters of the Unicode version that DeepSeek's first tokeniser was made with, range by range.
#define CASED_LETTERS                                                                                        \
  "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"            \
  "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"     \
  "\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}"            \
  "\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"          \
  "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"          \
  "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"  \
  "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}" \
  "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"           \
  "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}"            \
  "\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"            \
  "\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"           \
  "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"          \
  "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"        \
  "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{"      \
  "118DF}"                                                                                                   \
  "\\x{1E900}-\\x{1E943}"

constexpr const char* kLineBreak = "[\\r\\n]";
// The lookbehind changes no match, it only keeps long runs of spaces from being scanned once per start.
constexpr const char* kTrailingSpaces = "(?<!" SPACE ")" SPACE "++$";
constexpr const char* kEastAsian = "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+";

constexpr auto kDefaultSteps = std::to_array({kGpt2});
constexpr auto kQwen2Steps = std::to_array({kQwen2});
constexpr auto kLlama3Steps = std::to_array({kLlama3});
constexpr auto kSingleDigitSteps = std::to_array({kDigit, kGpt2});
constexpr auto kDeepSeekLlmSteps = std::to_array<const char*>({
    kLineBreak,
    SPACE "?[" CASED_LETTERS "]+",
    SPACE "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
    kTrailingSpaces,
    kEastAsian,
    kDigit,
});
constexpr auto kDeepSeekCoderSteps =
    std::to_array<const char*>({kLineBreak, SPACE "?\\p{L}+", SPACE "?\\p{P}+", kEastAsian, kDigit});
constexpr auto kDeepSeekV3Steps = std::to_array<const char*>({
    "\\p{N}{1,3}",
    "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACE "*[\\r\\n]+|" SPACES_TAIL,
});

struct NamedPreTokenizer {
  std::string_view name;
  std::span<const char* const> steps;
  bool whole_pieces_first = false;
};

const NamedPreTokenizer kPreTokenizers[] = {
    {"", kDefaultSteps},
    {"default", kDefaultSteps},
    {"gpt-2", kDefaultSteps},
    {"qwen2", kQwen2Steps},
    {"deepseek-r1-qwen", kQwen2Steps},
    {"llama-bpe", kLlama3Steps, true},
    {"llama3", kLlama3Steps, true},
    {"llama-v3", kLlama3Steps, true},
    {"smollm", kSingleDigitSteps},
    {"starcoder", kSingleDigitSteps},
    {"refact", kSingleDigitSteps},
    {"deepseek-llm", kDeepSeekLlmSteps},
    {"deepseek-coder", kDeepSeekCoderSteps},
    {"deepseek-v3", kDeepSeekV3Steps},
};

struct FreeMatch {
  void operator()(pcre2_match_data* match) const noexcept { pcre2_match_data_free(match); }
};
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

// Cuts every match of `pattern` out of `text`; what lies between matches stays whole.
void cut(const pcre2_code* pattern, pcre2_match_data* match, std::string_view text,
         std::vector<std::string_view>& pieces) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match);
  size_t done = 0;  // everything before is in `pieces`
  size_t from = 0;
  while (from < text.size()) {
    int found = pcre2_match(pattern, subject, text.size(), from, PCRE2_NO_UTF_CHECK, match, nullptr);
    if (found < 0 &&
        found != PCRE2_ERROR_NOMATCH) {  // the JIT's stack did not do: the interpreter uses the heap
      found =
          pcre2_match(pattern, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, nullptr);
    }
    if (found < 0) break;
    const size_t begin = range[0];
    const size_t end = range[1];
    CHECK(end > from);  // no pattern of the table matches nothing
    if (begin > done) pieces.push_back(text.substr(done, begin - done));
    pieces.push_back(text.substr(begin, end - begin));
    done = from = end;
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
}

// The bytes at the beginning of `text` that are no UTF-8.
size_t invalid_prefix(std::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size()) {
    const Utf8Step step = utf8_step(text.substr(bytes));
    if (step.kind == Utf8Kind::kCharacter) break;
    bytes += step.bytes;
  }
  return bytes;
}

}  // namespace

void PreTokenizer::FreeCode::operator()(pcre2_real_code_8* code) const noexcept {
  pcre2_code_free(code);
}

PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

Result<PreTokenizer> PreTokenizer::make(std::string_view name) {
  for (const NamedPreTokenizer& row : kPreTokenizers) {
    if (row.name != name) continue;
    PreTokenizer made;
    made.whole_pieces_first_ = row.whole_pieces_first;
    for (const char* step : row.steps) {
      int error = 0;
      PCRE2_SIZE offset = 0;
      Pattern pattern(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(step), PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
      CHECK(pattern != nullptr);
      // Without executable memory this fails, and pcre2_match() interprets.
      static_cast<void>(pcre2_jit_compile(pattern.get(), PCRE2_JIT_COMPLETE));
      made.patterns_.push_back(std::move(pattern));
    }
    return made;
  }
  std::string known;
  for (const NamedPreTokenizer& row : kPreTokenizers) {
    if (!row.name.empty()) known.append(known.empty() ? "" : ", ").append(row.name);
  }
  return fail(Code::kNotSupported, "pre-tokeniser \"{}\" is not supported (known: {})", name.substr(0, 64),
              known);
}

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  while (!text.empty()) {
    const size_t valid_bytes = utf8_valid_prefix(text);
    if (valid_bytes > 0) split_valid(text.substr(0, valid_bytes), pieces);
    text.remove_prefix(valid_bytes);
    const size_t invalid_bytes = invalid_prefix(text);
    if (invalid_bytes > 0) pieces.push_back(text.substr(0, invalid_bytes));
    text.remove_prefix(invalid_bytes);
  }
}

void PreTokenizer::split_valid(std::string_view text, std::vector<std::string_view>& pieces) const {
  const Match match(pcre2_match_data_create(1, nullptr));
  CHECK(match != nullptr);
  if (patterns_.size() == 1) return cut(patterns_[0].get(), match.get(), text, pieces);
  std::vector<std::string_view> whole = {text};
  std::vector<std::string_view> parts;
  for (const Pattern& pattern : patterns_) {
    parts.clear();
    for (std::string_view piece : whole) cut(pattern.get(), match.get(), piece, parts);
    whole.swap(parts);
  }
  pieces.insert(pieces.end(), whole.begin(), whole.end());
}

}  // namespace deepserve::runner
