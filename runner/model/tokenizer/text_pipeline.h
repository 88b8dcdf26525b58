// How a tokenizer.json says that text is changed, cut and put together again: data alone. What runs it is
// normalizer.h, pre_tokenizer.h and the tokenisers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deepserve::runner {

struct NormalizerStep {
  enum class Kind : uint8_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kPrepend,  // `content` goes before a text that is not empty
    kReplace,  // each `pattern` becomes `content`
  };
  Kind kind = Kind::kNfc;
  std::string pattern = {};  // not empty
  std::string content = {};
};

// What becomes of a match that text is cut at.
enum class SplitBehavior : uint8_t {
  kRemoved,
  kIsolated,    // it is a piece
  kContiguous,  // matches that follow each other are one piece
  kMergedWithPrevious,
  kMergedWithNext,
};

struct SplitStep {
  enum class Kind : uint8_t {
    kExpression,       // `pattern` is a regular expression
    kText,             // `pattern` is the text itself
    kDigit,            // one character of a number
    kPunctuationMark,  // one character of punctuation, and every ASCII mark
  };
  Kind kind = Kind::kExpression;
  std::string pattern = {};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool inverted = false;  // what lies between the matches counts as the matches
};

// What is put before a text that is to be cut, unless it begins with that already.
struct PrefixRule {
  enum class When : uint8_t { kNever, kAtStart, kAlways };  // kAtStart: only at the beginning of all text
  When when = When::kNever;
  std::string text;
  bool replaces_spaces = false;  // every U+0020 becomes `text`, too, and that first
};

// What decoding leaves out at the beginning of a text.
enum class LeadingSpace : uint8_t {
  kKept,
  kOneDropped,             // one space
  kFirstTokensAllDropped,  // all spaces that the first token stands for
};

}  // namespace deepserve::runner
