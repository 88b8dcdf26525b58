#include "runner/engine/speed_model.h"

#include <algorithm>
#include <cstddef>

namespace deepserve::runner {
namespace {

constexpr double kForget = 0.995;      // about the last 200 decode steps count
constexpr double kRidge = 1e-3;        // keeps the system solvable while every step looks the same
constexpr double kSequenceScale = 16;  // brings the three terms to the same size
constexpr double kContextScale = 4096;
constexpr uint32_t kStepsPerFit = 8;
constexpr double kPrefillWeight = 0.2;

// Solves the symmetric positive definite 3 x 3 system by elimination; `a` and `b` are consumed.
std::array<double, 3> solve(std::array<std::array<double, 3>, 3>& a, std::array<double, 3>& b) {
  for (size_t column = 0; column < 3; ++column) {
    for (size_t row = column + 1; row < 3; ++row) {
      const double factor = a[row][column] / a[column][column];
      for (size_t k = column; k < 3; ++k) a[row][k] -= factor * a[column][k];
      b[row] -= factor * b[column];
    }
  }
  std::array<double, 3> x{};
  for (size_t row = 3; row-- > 0;) {
    double sum = b[row];
    for (size_t k = row + 1; k < 3; ++k) sum -= a[row][k] * x[k];
    x[row] = sum / a[row][row];
  }
  return x;
}

}  // namespace

void SpeedModel::add(uint32_t decodes, uint64_t context_tokens, uint32_t prefill_tokens, double seconds) {
  if (prefill_tokens > 0) {
    if (prefill_tokens < kPrefillTokensMin) return;
    double decode_seconds = 0;
    if (decodes > 0) {
      decode_seconds = times_.fixed_seconds + times_.per_sequence_seconds * decodes +
                       times_.per_context_token_seconds * static_cast<double>(context_tokens);
    }
    const double prefill_seconds = std::max(seconds - decode_seconds, seconds * 0.1);
    if (prefill_seconds <= 0) return;
    const double speed = prefill_tokens / prefill_seconds;
    const double weight = prefill_tokens_per_second_ == 0 ? 1.0 : kPrefillWeight;
    prefill_tokens_per_second_ += weight * (speed - prefill_tokens_per_second_);
    return;
  }
  const std::array<double, 3> terms = {1.0, decodes / kSequenceScale,
                                       static_cast<double>(context_tokens) / kContextScale};
  for (size_t row = 0; row < 3; ++row) {
    for (size_t column = 0; column < 3; ++column) {
      products_[row][column] = products_[row][column] * kForget + terms[row] * terms[column];
    }
    targets_[row] = targets_[row] * kForget + terms[row] * seconds;
  }
  if (++since_fit_ >= kStepsPerFit) fit();
}

void SpeedModel::fit() {
  since_fit_ = 0;
  auto products = products_;
  auto targets = targets_;
  for (size_t i = 0; i < 3; ++i) products[i][i] += kRidge;
  const auto x = solve(products, targets);
  times_.fixed_seconds = std::max(0.0, x[0]);
  times_.per_sequence_seconds = std::max(0.0, x[1] / kSequenceScale);
  times_.per_context_token_seconds = std::max(0.0, x[2] / kContextScale);
}

}  // namespace deepserve::runner
