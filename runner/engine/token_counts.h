// How often each token has occurred in one choice: what the penalties look at.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/backend/row_draw.h"

namespace deepserve::runner {

// Counts nothing, and allocates nothing, for a generation without penalties. A list for those who look at
// all of it in each step, and an open-addressed table of places in it; both grow by doubling.
class TokenCounts {
 public:
  using Entry = TokenCount;

  TokenCounts(const ipc::Generation& generation, std::span<const TokenId> prompt)
      : active_(generation.presence_penalty != 0.0f || generation.frequency_penalty != 0.0f ||
                generation.repetition_penalty != 1.0f) {
    if (!active_) return;
    places_.resize(kPlacesMin, kNone);
    for (const TokenId token : prompt) entry_of(token);
  }

  void add_generated(TokenId token) {
    if (active_) ++entry_of(token).generated;
  }
  bool active() const { return active_; }
  // Every token of the prompt and of the answer so far, once.
  std::span<const Entry> entries() const { return entries_; }

 private:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  static constexpr size_t kPlacesMin = 64;  // a power of two

  // The place of `token`, or the empty one where it belongs.
  uint32_t& place_of(TokenId token) {
    const size_t last = places_.size() - 1;
    size_t at = token * 0x9E3779B97F4A7C15 >> (64 - std::countr_zero(places_.size()));
    while (places_[at] != kNone && entries_[places_[at]].token != token) at = (at + 1) & last;
    return places_[at];
  }
  Entry& entry_of(TokenId token) {
    if (2 * (entries_.size() + 1) > places_.size()) {
      places_.assign(2 * places_.size(), kNone);
      for (size_t i = 0; i < entries_.size(); ++i) place_of(entries_[i].token) = static_cast<uint32_t>(i);
    }
    uint32_t& place = place_of(token);
    if (place == kNone) {
      place = static_cast<uint32_t>(entries_.size());
      entries_.push_back({token, 0});
    }
    return entries_[place];
  }

  bool active_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> places_;  // at most half full
};

}  // namespace deepserve::runner
