// Keeps a prediction honest: the factor by which it is to be stretched so that nine of ten outcomes are
// within. Pure.
//
// Outcomes are compared as ratios, (actual + floor) / (predicted + floor): errors grow with what is
// predicted, and the floor keeps the shortest from counting most. The factor is the 90 % quantile of the last
// kWindow ratios, and is corrected by what coverage it had of late: each miss raises it, each hit lowers it a
// ninth as much (adaptive conformal inference, Gibbs and Candes 2021), so that in the long run nine of ten
// are covered also where outcomes drift.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace deepserve::daemon {

class ResidualQuantile {
 public:
  static constexpr size_t kWindow = 128;
  static constexpr double kCovered = 0.9;
  static constexpr double kUnknown = 1.5;  // until kEnough outcomes are known
  static constexpr size_t kEnough = 10;
  static constexpr double kStep = 0.03;    // of the correction, as a part of it, for a hit or miss in full
  static constexpr double kFloor_s = 0.1;  // about a step: it is in every TTFT, whatever the prompt

  // `stretched_s`: what stretched() said of it.
  void add(double predicted_s, double stretched_s, double actual_s);
  double stretched(double predicted_s) const;
  double median(double predicted_s) const;
  double least(double predicted_s) const;  // nine of ten take longer

 private:
  static double scaled(double factor, double predicted_s);
  double quantile(double q) const;

  std::array<float, kWindow> ratios_{};
  uint64_t count_ = 0;
  double correction_ = 1;
  double factor_ = kUnknown;
  double middle_ = 1;
  double least_ = 1;
};

}  // namespace deepserve::daemon
