// The deaths of the processes of one runner, which end together: the first takes the others with it, and one
// of them explains all. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/supervise/death.h"

namespace deepserve::daemon {

class RankDeaths {
 public:
  // New processes, one for a model that is not spread.
  void begin(uint32_t ranks) {
    ranks_ = ranks;
    deaths_.clear();
  }
  // The process of `rank` has ended. `with_group`: it lived when the first one ended, and was killed for
  // that.
  void add(uint32_t rank, const DeathFacts& facts, bool with_group);
  bool any() const { return !deaths_.empty(); }
  bool all() const { return deaths_.size() >= ranks_; }

  // What ended the runner: the first death that is not the consequence of another (killed with the group, or
  // it said that it had lost a peer), else the first that said so, else the first. Names the rank where there
  // are several.
  Death verdict() const;
  uint32_t cause_rank() const { return cause().rank; }  // whose death that was

 private:
  struct RankDeath {
    uint32_t rank;
    DeathFacts facts;
    bool with_group;
  };
  const RankDeath& cause() const;

  uint32_t ranks_ = 1;
  std::vector<RankDeath> deaths_;  // in the order of ending
};

}  // namespace deepserve::daemon
