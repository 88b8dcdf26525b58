// How many tokens a prompt or an answer has: a distribution that a user names. Pure.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::ctl::bench {

class Lengths {
 public:
  static constexpr uint32_t kTokens_max = 1'000'000;

  // "128" or "fixed:128"; "uniform:16:256" (both ends included); "lognormal:MEAN:CV" or
  // "lognormal:MEAN:CV:MAX" (MAX: 8 times the mean unless given). kUsage names `what` and what is wrong.
  static Result<Lengths> parse(std::string_view what, std::string_view text);

  // At least 1.
  uint32_t draw(std::mt19937_64& generator) const;
  // Before cutting at the maximum.
  double mean() const;

 private:
  enum class Shape { kFixed, kUniform, kLognormal };

  Shape shape_ = Shape::kFixed;
  uint32_t least_ = 1;
  uint32_t most_ = 1;
  double log_mean_ = 0;
  double log_deviation_ = 0;
};

}  // namespace deepserve::ctl::bench
