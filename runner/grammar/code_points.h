// Sets of Unicode characters, and how UTF-8 spells them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace deepserve::runner {

inline constexpr char32_t kCodePointMax = 0x10ffff;

struct CodePointRange {
  char32_t first;
  char32_t last;
  bool operator==(const CodePointRange&) const = default;
};

// Scalar values only: surrogates are dropped, for UTF-8 cannot spell them.
class CodePointSet {
 public:
  CodePointSet() = default;
  CodePointSet(std::initializer_list<CodePointRange> ranges);

  static CodePointSet all() { return {{0, kCodePointMax}}; }

  // Of any order and overlap; what lies beyond U+10FFFF is dropped. Costs nothing until the set is looked at.
  void add(CodePointRange range) { ranges_.push_back(range); }
  void add(const CodePointSet& other);
  // Sorts and joins what was added: before any of the functions below.
  void normalize();

  CodePointSet complement() const;
  CodePointSet intersection(const CodePointSet& other) const;
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t code_point) const;
  std::span<const CodePointRange> ranges() const { return ranges_; }

 private:
  std::vector<CodePointRange> ranges_;  // once normal: sorted, apart
};

struct ByteRange {
  uint8_t first;
  uint8_t last;
};

struct ByteSequence {
  std::array<ByteRange, 4> bytes;
  uint8_t size;
};

// The UTF-8 spellings of [first, last], as few sequences of byte ranges as their boundaries allow (the
// construction of Ken Thompson and Rob Pike's encoding by lengths, then by trailing bytes).
std::vector<ByteSequence> utf8_sequences(CodePointRange range);

}  // namespace deepserve::runner
