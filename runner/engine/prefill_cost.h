// What prefill costs on this device: a price for each token, and one for each earlier position that it
// attends to, learnt from the steps themselves.
#pragma once

#include <cstdint>

#include "runner/engine/outlier_filter.h"

namespace deepserve::runner {

// In seconds, or in tokens where nothing is known of time: token 1, pair 0.
struct PrefillPrice {
  double token = 1;
  double pair = 0;  // of a token and a position that it attends to

  // Of `tokens` tokens from `position` on.
  double of(uint32_t position, uint32_t tokens) const {
    return token * tokens + pair * pairs(position, tokens);
  }
  // How many tokens from `position` on `cost` pays for, or nearly so, at most `tokens_max`.
  uint32_t affordable(double cost, uint32_t position, uint32_t tokens_max) const;

  static double pairs(uint32_t position, uint32_t tokens) {
    return static_cast<double>(tokens) * (position + 0.5 * tokens);
  }
};

// Follows the price from step to step: what a token costs over the last few steps, and over the last fifty
// how that grows with its position. Chunks count by their tokens, so that a small one, whose share of the
// step's fixed cost is large, says little. A step that took longer for once is no news.
class PrefillCost {
 public:
  // `keep`: how much of what is known of the price outlives a step; 0.8: about the last five steps count.
  explicit PrefillCost(double keep) : keep_(keep) {}

  // A step's prefill: `tokens`, the pairs of all of its chunks, and the seconds that it took.
  void add(uint32_t tokens, double pairs, double seconds);

  bool measured() const { return tokens_ > 0; }
  PrefillPrice price() const { return price(growth_); }
  // With a token's growth by position learnt elsewhere.
  PrefillPrice price(double growth) const;
  // By which part of its price a token gets dearer with each position, once chunks at many were measured.
  bool growth_known() const { return growth_known_; }
  double growth() const { return growth_; }
  // Over the last few steps, wherever in their prompts they were.
  double tokens_per_second() const { return seconds_ > 0 ? tokens_ / seconds_ : 0; }

 private:
  void fit_growth();

  double keep_;
  OutlierFilter outliers_;  // of measured / known
  // Sums that forget: over few steps...
  double tokens_ = 0;
  double pairs_ = 0;
  double seconds_ = 0;
  // ... and over many, of the regression of a token's seconds on its position, weighted by tokens.
  double weight_ = 0;
  double positions_ = 0;
  double positions_squared_ = 0;
  double costs_ = 0;
  double products_ = 0;
  bool growth_known_ = false;
  double growth_ = 0;
};

}  // namespace deepserve::runner
