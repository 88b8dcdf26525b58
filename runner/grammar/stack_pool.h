// Stacks of the states that calls come back to, as linked lists that share their tails: equal stacks are one
// number, which makes them cheap to compare, to copy and to keep.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/grammar/automaton.h"

namespace deepserve::runner {

using StackId = uint32_t;

class StackPool {
 public:
  static constexpr StackId kBottom = 0xffffffff;

  StackPool() : slots_(64, kBottom) {}

  struct Entry {
    StateId back;  // where the call comes back to
    StackId below;
  };
  const Entry& operator[](StackId stack) const { return entries_[stack]; }

  StackId push(StateId back, StackId below) {
    if ((entries_.size() + 1) * 2 > slots_.size()) grow();
    const size_t slot = slot_of(back, below);
    if (slots_[slot] == kBottom) {
      slots_[slot] = static_cast<StackId>(entries_.size());
      entries_.push_back({back, below});
    }
    return slots_[slot];
  }

  size_t size() const { return entries_.size(); }
  // Forgets the stacks that were pushed since size() was `size`, which nothing may hold any more.
  void shrink(size_t size) {
    // The last one in leaves first, so that no chain of collisions is broken.
    while (entries_.size() > size) {
      slots_[slot_of(entries_.back().back, entries_.back().below)] = kBottom;
      entries_.pop_back();
    }
  }

 private:
  // Of that entry, or the free one where it belongs.
  size_t slot_of(StateId back, StackId below) const {
    uint64_t hash = (uint64_t{back} << 32 | below) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    size_t slot = hash & (slots_.size() - 1);
    while (slots_[slot] != kBottom &&
           (entries_[slots_[slot]].back != back || entries_[slots_[slot]].below != below)) {
      slot = (slot + 1) & (slots_.size() - 1);
    }
    return slot;
  }

  void grow() {
    slots_.assign(slots_.size() * 2, kBottom);
    for (StackId stack = 0; stack < entries_.size(); ++stack)
      slots_[slot_of(entries_[stack].back, entries_[stack].below)] = stack;
  }

  std::vector<Entry> entries_;
  std::vector<StackId> slots_;  // a hash table, at most half of it taken; kBottom: free
};

}  // namespace deepserve::runner
