// The masks of states that were asked for last, of all grammars of one runner, within kMaskCacheBytesMax.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "runner/grammar/limits.h"
#include "runner/grammar/mask_walk.h"

namespace deepserve::runner {

// Not for more than one thread.
class MaskCache {
 public:
  explicit MaskCache(size_t bytes_max = kMaskCacheBytesMax) : bytes_max_(bytes_max) {}

  // A number for one more grammar, whose states are apart from all others'.
  uint32_t new_grammar() { return grammars_++; }

  // Null when it is not there.
  std::shared_ptr<const StateMask> find(uint32_t grammar, StateId state) {
    const auto found = by_state_.find(key_of(grammar, state));
    if (found == by_state_.end()) return nullptr;
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    return found->second->mask;
  }

  // The oldest ones make room. Those who hold one keep it.
  void add(uint32_t grammar, StateId state, std::shared_ptr<const StateMask> mask) {
    bytes_ += mask->bytes();
    by_use_.push_front({key_of(grammar, state), std::move(mask)});
    by_state_[by_use_.front().key] = by_use_.begin();
    while (bytes_ > bytes_max_ && by_use_.size() > 1) {
      bytes_ -= by_use_.back().mask->bytes();
      by_state_.erase(by_use_.back().key);
      by_use_.pop_back();
    }
  }

  size_t bytes() const { return bytes_; }

 private:
  struct Kept {
    uint64_t key;
    std::shared_ptr<const StateMask> mask;  // shared with the matchers that look at it
  };
  static uint64_t key_of(uint32_t grammar, StateId state) { return uint64_t{grammar} << 32 | state; }

  std::list<Kept> by_use_;  // the last used first
  std::unordered_map<uint64_t, std::list<Kept>::iterator> by_state_;
  size_t bytes_max_;
  size_t bytes_ = 0;
  uint32_t grammars_ = 0;
};

}  // namespace deepserve::runner
