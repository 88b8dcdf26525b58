// The regular expressions by which a tokenizer.json cuts text, in the dialect that they are written in: the
// part of Oniguruma's that published tokenisers use. Everything else is refused by name.
//
//   literals   \r \n \t \f \v \a \e \xHH \x{H..} \uHHHH, escaped punctuation, any other character
//   sets       . \s \S \d \D \p{Lu} \P{L} [...] [^...] with ranges; categories are Unicode's general ones
//   groups     (...) (?:...) (?i:...) (?>...) (?=...) (?!...) (?<=...) (?<!...) and |
//   repeats    ? * + {n} {n,} {n,m}; after ? * + also lazy ("+?") and possessive ("++")
//   places     ^ $ (of a line, as in Ruby), \A, \z
//
// The matcher is our own because a model file is hostile: every step is counted, so that no expression
// and no text can hold a thread. (PCRE2's limits do not count the loops of its compiled code and those that
// it made possessive: "\s+$" over a megabyte of spaces takes hours within them.) It also sees the Unicode
// version that the `tokenizers` library sees. The expressions of well-known models do not come here, but to
// piece_scanner.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/tokenizer/character_set.h"

namespace deepserve::runner {

class SplitPattern {
 public:
  // kNotSupported names the construct and its offset; so too for an expression that can match nothing at all,
  // and for one that is too large.
  static Result<SplitPattern> make(std::string_view expression);

  struct Match {
    size_t begin;
    size_t end;  // > begin
  };
  // The leftmost match in `text`, valid UTF-8, that begins at `from` or later. Takes what it used from
  // `steps`; at 0 it gives up and finds nothing. Any number of threads.
  std::optional<Match> find(std::string_view text, size_t from, uint64_t& steps) const;

 private:
  friend class PatternParser;

  enum class Operation : uint8_t {
    kSet,        // one character of `set`
    kRepeatSet,  // `min` to `max` characters of `set`, by `greed`
    kSplit,      // goes on at `next`, and if that fails at `other`
    kJump,       // goes on at `next`
    kAtomic,     // what follows up to `next` must match; no way back into it
    kLook,       // the same, and it takes no characters; `behind` of them back; `negative`
    kLineBegin,
    kLineEnd,
    kTextBegin,
    kTextEnd,
    kMatched,  // the end of the expression, or of what follows kAtomic and kLook
  };
  enum class Greed : uint8_t { kGreedy, kLazy, kPossessive };
  struct Instruction {
    Operation operation;
    Greed greed = Greed::kGreedy;
    bool negative = false;
    uint32_t set = 0;  // index into sets_
    uint32_t min = 0;
    uint32_t max = 0;
    int32_t next = 1;   // relative to this instruction
    int32_t other = 0;  // relative to this instruction
    uint32_t behind = 0;
  };
  static constexpr uint32_t kNoLimit = 0xffffffff;

  class Matcher;

  SplitPattern() = default;

  std::vector<Instruction> program_;
  std::vector<CharacterSet> sets_;
};

}  // namespace deepserve::runner
