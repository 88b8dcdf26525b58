#include "runner/backend/rank_exchange.h"

#include "ipc/base/check.h"

namespace deepserve::runner {

RankExchange::RankExchange(const RankShare& share, Collective* collective, size_t tokens_max,
                           size_t embedding)
    : share_(share), collective_(collective) {
  CHECK((collective == nullptr) == (share.ranks == 1));
  if (alone()) return;
  part_.resize(tokens_max * embedding);
  logits_part_.resize(kLogitsRows * share.vocabulary[share.rank]);
}

Result<void> RankExchange::add_parts(std::span<float> residual, std::span<const float> bias) {
  CHECK(residual.size() <= part_.size());
  TRY(collective_->all_reduce_sum({part_.data(), residual.size()}));
  float* part = part_.data();
  for (size_t begin = 0; !bias.empty() && begin < residual.size(); begin += bias.size()) {
    for (size_t i = 0; i < bias.size(); ++i) part[begin + i] += bias[i];
  }
  for (size_t i = 0; i < residual.size(); ++i) residual[i] += part[i];
  return {};
}

Result<void> RankExchange::gather_logits(size_t rows, std::span<float> logits) {
  CHECK(rows <= kLogitsRows && (first() || logits.empty()));
  const size_t own = share_.vocabulary[share_.rank], vocabulary = logits.size() / rows;
  for (size_t row = 0; row < rows; ++row) {
    TRY(collective_->all_gather({logits_part_.data() + row * own, own}, share_.vocabulary,
                                logits.subspan(row * vocabulary, vocabulary)));
  }
  return {};
}

}  // namespace deepserve::runner
