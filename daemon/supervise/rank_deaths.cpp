#include "daemon/supervise/rank_deaths.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

bool lost_a_peer(const DeathFacts& facts) {
  return facts.reported && facts.reported->code == Code::kRunnerLost;
}

}  // namespace

void RankDeaths::add(uint32_t rank, const DeathFacts& facts, bool with_group) {
  CHECK(rank < ranks_);
  deaths_.push_back({rank, facts, with_group});
}

const RankDeaths::RankDeath& RankDeaths::cause() const {
  CHECK(any());
  const auto own = std::find_if(deaths_.begin(), deaths_.end(), [](const RankDeath& death) {
    return !death.with_group && !lost_a_peer(death.facts);
  });
  if (own != deaths_.end()) return *own;
  const auto lost = std::find_if(deaths_.begin(), deaths_.end(),
                                 [](const RankDeath& death) { return lost_a_peer(death.facts); });
  return lost != deaths_.end() ? *lost : deaths_.front();
}

Death RankDeaths::verdict() const {
  const RankDeath& death = cause();
  Death verdict = classify_death(death.facts);
  if (ranks_ > 1) verdict.text = fmt::format("rank {} of {}: {}", death.rank, ranks_, verdict.text);
  return verdict;
}

}  // namespace deepserve::daemon
