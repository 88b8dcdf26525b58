// Which beginnings of prompts one runner has in its cache, as far as can be told from what it was sent. Pure.
//
// Remembered are the pieces (prompt_prefix.h) of the prompts that it has prefilled, those that were used
// last, as many as its KV memory may hold. What it said of its cache's hits corrects what is expected of it:
// running sequences take their part of that memory, and how much is nobody's promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>

namespace deepserve::daemon {

class PrefixIndex {
 public:
  static constexpr size_t kPiecesMax = 16'384;  // about 100 bytes each
  static constexpr double kFading = 0.9;        // for each prompt that a hit was expected of

  // Forgets all: a new process has nothing. It keeps so many pieces, at most kPiecesMax.
  void reset(size_t pieces_max);

  // How many of a prompt's leading pieces it has. Of a chain the last ones are the first to go, so that no
  // gaps are looked for.
  size_t known(std::span<const uint64_t> pieces) const;
  // It has prefilled a prompt of these.
  void add(std::span<const uint64_t> pieces);

  // Of a prompt of which this part (0..1) should have been in its cache, that part was.
  void heard(double expected, double actual);
  // What an expected part is worth, 0..1.
  double trust() const { return actual_ / expected_; }

  size_t size() const { return places_.size(); }

 private:
  size_t pieces_max_ = kPiecesMax;
  std::list<uint64_t> order_;  // the one used last comes first
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> places_;
  double expected_ = 1;  // what is believed at first counts as much as one prompt
  double actual_ = 1;
};

}  // namespace deepserve::daemon
