// The simulator's chance: the same seed draws the same on every machine, which the standard library's
// distributions do not promise.
//
// Source: xoshiro256++ and splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators",
// 2021); gamma by Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace deepserve::sim {

inline uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  // Streams of one seed are independent of each other.
  Random(uint64_t seed, uint64_t stream) {
    uint64_t x = mixed(seed) ^ mixed(~stream);
    for (auto& word : state_) word = x = mixed(x);
  }

  uint64_t bits() {
    const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // In (0, 1].
  double uniform() { return (static_cast<double>(bits() >> 11) + 1) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Of mean 1.
  double exponential() { return -std::log(uniform()); }
  double normal() { return std::sqrt(2 * exponential()) * std::cos(2 * std::numbers::pi * uniform()); }
  double lognormal(double median, double sigma) { return median * std::exp(sigma * normal()); }
  // Of mean 1 and coefficient of variation `cv`, at least 1.
  double gamma(double cv) {
    const double shape = 1 / (cv * cv);
    const double d = shape + 1 - 1.0 / 3;  // of shape + 1, brought down below
    const double c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal();
      const double v = std::pow(1 + c * x, 3);
      if (v <= 0 || std::log(uniform()) >= 0.5 * x * x + d - d * v + d * std::log(v)) continue;
      return d * v * std::pow(uniform(), 1 / shape) / shape;
    }
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace deepserve::sim
