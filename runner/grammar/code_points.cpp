#include "runner/grammar/code_points.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

constexpr CodePointRange kSurrogates{0xd800, 0xdfff};

uint8_t spell(char32_t code_point, std::array<uint8_t, 4>& bytes) {
  if (code_point < 0x80) {
    bytes[0] = static_cast<uint8_t>(code_point);
    return 1;
  }
  const uint8_t size = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
  constexpr std::array<uint8_t, 5> kLead = {0, 0, 0xc0, 0xe0, 0xf0};
  for (uint8_t i = size - 1; i > 0; --i) {
    bytes[i] = static_cast<uint8_t>(0x80 | (code_point & 0x3f));
    code_point >>= 6;
  }
  bytes[0] = static_cast<uint8_t>(kLead[size] | code_point);
  return size;
}

// [first, last] of one length: split until all trailing bytes are either equal or whole ranges.
void split(char32_t first, char32_t last, std::vector<ByteSequence>& out) {
  std::array<uint8_t, 4> low{}, high{};
  const uint8_t size = spell(first, low);
  spell(last, high);
  for (uint8_t trailing = 1; trailing < size; ++trailing) {
    const char32_t mask = (char32_t{1} << (6 * trailing)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      split(first, first | mask, out);
      split((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      split(first, (last & ~mask) - 1, out);
      split(last & ~mask, last, out);
      return;
    }
  }
  ByteSequence sequence{{}, size};
  for (uint8_t i = 0; i < size; ++i) sequence.bytes[i] = {low[i], high[i]};
  out.push_back(sequence);
}

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<CodePointRange> ranges) : ranges_(ranges) {
  normalize();
}

void CodePointSet::add(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
}

void CodePointSet::normalize() {
  std::vector<CodePointRange> apart;
  for (CodePointRange range : ranges_) {
    range.last = std::min(range.last, kCodePointMax);
    if (range.first > range.last) continue;
    if (range.first < kSurrogates.first)
      apart.push_back({range.first, std::min<char32_t>(range.last, kSurrogates.first - 1)});
    if (range.last > kSurrogates.last)
      apart.push_back({std::max<char32_t>(range.first, kSurrogates.last + 1), range.last});
  }
  std::ranges::sort(apart, {}, &CodePointRange::first);
  ranges_.clear();
  for (const CodePointRange range : apart) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

CodePointSet CodePointSet::complement() const {
  CodePointSet rest;
  char32_t next = 0;
  for (const CodePointRange range : ranges_) {
    if (range.first > next) rest.add({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kCodePointMax) rest.add({next, kCodePointMax});
  rest.normalize();
  return rest;
}

CodePointSet CodePointSet::intersection(const CodePointSet& other) const {
  CodePointSet rest = complement();
  rest.add(other.complement());
  rest.normalize();
  return rest.complement();
}

bool CodePointSet::contains(char32_t code_point) const {
  return std::ranges::any_of(
      ranges_, [=](CodePointRange range) { return range.first <= code_point && code_point <= range.last; });
}

std::vector<ByteSequence> utf8_sequences(CodePointRange range) {
  constexpr std::array<char32_t, 4> kLastOfLength = {0x7f, 0x7ff, 0xffff, kCodePointMax};
  std::vector<ByteSequence> sequences;
  char32_t first = range.first;
  for (const char32_t last : kLastOfLength) {
    if (first > range.last) break;
    if (first > last) continue;
    split(first, std::min(last, range.last), sequences);
    first = last + 1;
  }
  return sequences;
}

}  // namespace deepserve::runner
