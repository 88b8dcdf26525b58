#include "daemon/admission/prefix_index.h"

#include <algorithm>

namespace deepserve::daemon {

void PrefixIndex::reset(size_t pieces_max) {
  pieces_max_ = std::min(pieces_max, kPiecesMax);
  order_.clear();
  places_.clear();
  expected_ = actual_ = 1;
}

size_t PrefixIndex::known(std::span<const uint64_t> pieces) const {
  if (pieces.empty() || !places_.contains(pieces.front())) return 0;
  const auto first_unknown = std::partition_point(pieces.begin(), pieces.end(),
                                                  [this](uint64_t piece) { return places_.contains(piece); });
  return static_cast<size_t>(first_unknown - pieces.begin());
}

// From the last one on, so that the beginning, which most prompts share, is the last to be forgotten.
void PrefixIndex::add(std::span<const uint64_t> pieces) {
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    const auto [place, is_new] = places_.try_emplace(*piece);
    if (is_new) {
      order_.push_front(*piece);
      place->second = order_.begin();
    } else {
      order_.splice(order_.begin(), order_, place->second);
    }
  }
  while (places_.size() > pieces_max_) {
    places_.erase(order_.back());
    order_.pop_back();
  }
}

void PrefixIndex::heard(double expected, double actual) {
  expected_ = kFading * expected_ + expected;
  actual_ = kFading * actual_ + std::min(actual, expected);
}

}  // namespace deepserve::daemon
