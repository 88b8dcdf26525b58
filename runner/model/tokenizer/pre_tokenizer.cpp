#include "runner/model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr size_t kStepsMax = 32;                // of one pre-tokeniser
constexpr uint64_t kPatternStepsPerByte = 500;  // those of published tokenisers take some thirty
constexpr uint64_t kPatternStepsAtLeast = 1'000'000;

// The cased letters of the Unicode version that DeepSeek's first tokeniser was made with, range by range.
#define CASED_LETTERS                                                                                     \
  R"(A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-)"  \
  R"(\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-)"    \
  R"(\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF)"  \
  R"(\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-)" \
  R"(\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC)"    \
  R"(\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115)"   \
  R"(\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E)"    \
  R"(\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-)"   \
  R"(\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A)"  \
  R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"    \
  R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"

constexpr std::string_view kLineBreak = R"([\r\n])";
constexpr std::string_view kEastAsian = R"([\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+)";

using Expressions = std::string_view;
constexpr auto kDefaultSteps = std::to_array<Expressions>({kGpt2Expression});
constexpr auto kQwen2Steps = std::to_array<Expressions>({kQwen2Expression});
constexpr auto kLlama3Steps = std::to_array<Expressions>({kLlama3Expression});
constexpr auto kSingleDigitSteps = std::to_array<Expressions>({kDigitExpression, kGpt2Expression});
constexpr auto kDeepSeekLlmSteps = std::to_array<Expressions>({
    kLineBreak,
    R"(\s?[)" CASED_LETTERS "]+",
    R"(\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+)",
    kTrailingSpacesExpression,
    kEastAsian,
    kDigitExpression,
});
constexpr auto kDeepSeekCoderSteps =
    std::to_array<Expressions>({kLineBreak, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kEastAsian, kDigitExpression});
constexpr auto kDeepSeekV3Steps =
    std::to_array<Expressions>({kThreeDigitsExpression, kCjkExpression, kDeepSeekV3Expression});

const PreTokenizer::Named kNamed[] = {
    {.name = "", .expressions = kDefaultSteps},
    {.name = "default", .expressions = kDefaultSteps},
    {.name = "gpt-2", .expressions = kDefaultSteps},
    {.name = "qwen2", .expressions = kQwen2Steps, .composed = true},
    {.name = "deepseek-r1-qwen", .expressions = kQwen2Steps, .composed = true},
    {.name = "llama-bpe", .expressions = kLlama3Steps, .whole_pieces_first = true},
    {.name = "llama3", .expressions = kLlama3Steps, .whole_pieces_first = true},
    {.name = "llama-v3", .expressions = kLlama3Steps, .whole_pieces_first = true},
    {.name = "smollm", .expressions = kSingleDigitSteps},
    {.name = "starcoder", .expressions = kSingleDigitSteps},
    {.name = "refact", .expressions = kSingleDigitSteps},
    {.name = "deepseek-llm", .expressions = kDeepSeekLlmSteps},
    {.name = "deepseek-coder", .expressions = kDeepSeekCoderSteps},
    {.name = "deepseek-v3", .expressions = kDeepSeekV3Steps},
};

size_t character_bytes(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// All of ASCII's marks, symbols too, and punctuation beyond.
size_t punctuation(const CategoryTable& table, std::string_view text, size_t at) {
  const size_t bytes = character_bytes(text, at);
  const char32_t c = utf8_code_point(text.substr(at, bytes));
  const CategorySet wanted = c < 0x80 ? kPunctuation | kSymbol : kPunctuation;
  return (table[c] & wanted) != 0 ? at + bytes : at;
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

struct Stretch {
  std::string_view text;
  bool is_match;
};

// Pieces out of the matches and what lies between them.
std::vector<Stretch> joined(const std::vector<Stretch>& stretches, SplitBehavior behavior) {
  std::vector<Stretch> pieces;
  const auto append = [&](std::string_view text) {
    std::string_view& last = pieces.back().text;
    last = {last.data(), last.size() + text.size()};
  };
  for (size_t i = 0; i < stretches.size(); ++i) {
    const Stretch& stretch = stretches[i];
    const bool after_other = i > 0 && stretches[i - 1].is_match != stretch.is_match;
    const bool after_same = i > 0 && !after_other;
    bool joins = false;
    if (behavior == SplitBehavior::kRemoved && stretch.is_match) continue;
    if (behavior == SplitBehavior::kContiguous) joins = after_same;
    if (behavior == SplitBehavior::kMergedWithPrevious) joins = stretch.is_match && after_other;
    if (behavior == SplitBehavior::kMergedWithNext) joins = !stretch.is_match && after_other;
    if (joins)
      append(stretch.text);
    else
      pieces.push_back(stretch);
  }
  return pieces;
}

}  // namespace

// One text on its way through the steps.
class PreTokenizer::Cutter {
 public:
  Cutter(const std::vector<Step>& steps, size_t bytes, std::vector<std::string_view>& pieces)
      : steps_(steps),
        table_(CategoryTable::get()),
        pieces_(pieces),
        pattern_steps_(kPatternStepsAtLeast + kPatternStepsPerByte * bytes) {}

  void cut(size_t step_index, std::string_view text) {
    if (text.empty()) return;
    if (step_index == steps_.size()) return pieces_.push_back(text);
    const Step& step = steps_[step_index];
    if (step.rule.behavior == SplitBehavior::kIsolated) {
      return for_each(step, text, [&](std::string_view part, bool) { cut(step_index + 1, part); });
    }
    std::vector<Stretch> stretches;
    for_each(step, text, [&](std::string_view part, bool is_match) {
      if (!part.empty()) stretches.push_back({part, is_match != step.rule.inverted});
    });
    for (const Stretch& piece : joined(stretches, step.rule.behavior)) cut(step_index + 1, piece.text);
  }

 private:
  // Visits the step's matches in `text` and what lies between them, from front to back.
  template <typename Visit>
  void for_each(const Step& step, std::string_view text, Visit&& visit) {
    size_t done = 0;
    while (done < text.size()) {
      const SplitPattern::Match match = next(step, text, done);
      if (match.begin > done) visit(text.substr(done, match.begin - done), false);
      if (match.begin == text.size()) break;
      visit(text.substr(match.begin, match.end - match.begin), true);
      done = match.end;
    }
  }

  // The first match at `from` or later; at the end of the text when there is none.
  SplitPattern::Match next(const Step& step, std::string_view text, size_t from) {
    const SplitPattern::Match none{text.size(), text.size()};
    if (step.scanner) {
      for (size_t at = from; at < text.size(); at += character_bytes(text, at)) {
        const size_t end = step.scanner(table_, text, at);
        if (end > at) return {at, end};
      }
      return none;
    }
    if (step.pattern) return step.pattern->find(text, from, pattern_steps_).value_or(none);
    const size_t begin = text.find(step.rule.pattern, from);
    return begin == text.npos ? none : SplitPattern::Match{begin, begin + step.rule.pattern.size()};
  }

  const std::vector<Step>& steps_;
  const CategoryTable& table_;
  std::vector<std::string_view>& pieces_;
  uint64_t pattern_steps_;
};

Result<const PreTokenizer::Named*> PreTokenizer::find_named(std::string_view name) {
  for (const Named& row : kNamed) {
    if (row.name == name) return &row;
  }
  std::string known;
  for (const Named& row : kNamed) {
    if (!row.name.empty()) known.append(known.empty() ? "" : ", ").append(row.name);
  }
  return fail(Code::kNotSupported, "pre-tokeniser \"{}\" is not supported (known: {})", name.substr(0, 64),
              known);
}

Result<PreTokenizer> PreTokenizer::make(const Named& named) {
  std::vector<SplitStep> steps;
  for (std::string_view expression : named.expressions) steps.push_back({.pattern = std::string(expression)});
  return make(steps);
}

Result<PreTokenizer> PreTokenizer::make(std::span<const SplitStep> steps) {
  if (steps.size() > kStepsMax)
    return fail(Code::kNotSupported, "{} steps of pre-tokenising, at most {} are", steps.size(), kStepsMax);
  CategoryTable::get();  // is made now, not under the first request
  PreTokenizer made;
  for (const SplitStep& rule : steps) {
    Step step;
    step.rule = rule;
    if (rule.kind == SplitStep::Kind::kDigit) step.scanner = scanner_for(kDigitExpression);
    if (rule.kind == SplitStep::Kind::kPunctuationMark) step.scanner = punctuation;
    if (rule.kind == SplitStep::Kind::kExpression) {
      step.scanner = scanner_for(rule.pattern);
      if (!step.scanner) {
        TRY_ASSIGN(step.pattern, SplitPattern::make(rule.pattern));
      }
    }
    if (rule.kind == SplitStep::Kind::kText && rule.pattern.empty())
      return fail(Code::kNotSupported, "a text that is empty cannot be cut at");
    made.steps_.push_back(std::move(step));
  }
  return made;
}

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  Cutter cutter(steps_, text.size(), pieces);
  while (!text.empty()) {
    const size_t valid_bytes = utf8_valid_prefix(text);
    cutter.cut(0, text.substr(0, valid_bytes));
    text.remove_prefix(valid_bytes);
    const size_t invalid_bytes = invalid_prefix(text);
    if (invalid_bytes > 0) pieces.push_back(text.substr(0, invalid_bytes));
    text.remove_prefix(invalid_bytes);
  }
}

}  // namespace deepserve::runner
