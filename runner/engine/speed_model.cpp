#include "runner/engine/speed_model.h"

#include <algorithm>
#include <cstddef>
#include <functional>

namespace deepserve::runner {
namespace {

constexpr double kForget = 0.995;      // about the last 200 decode steps count
constexpr double kRidge = 1e-3;        // keeps the system solvable while every step looks the same
constexpr double kSequenceScale = 16;  // brings the three terms to the same size
constexpr double kContextScale = 4096;
constexpr uint32_t kStepsPerFit = 8;
constexpr uint32_t kNextToNothing = 2;    // tokens of prefill
constexpr double kPrefillShareMax = 0.2;  // of the time of a step that tells what decoding takes
constexpr double kBiasStep = 1.25;        // a step that took longer for once is no news
constexpr double kBiasWeight = 0.2;
constexpr uint64_t kStepsUnsure = 16;  // the first steps are taken as they come
constexpr size_t kJitterRank = 1;      // the second largest of the last 128 excesses
constexpr uint64_t kExcessesPerJitter = 16;
constexpr double kBesideKeep = 0.95;
constexpr double kPrefillShareMin = 0.1;  // of a step's time, whatever its decodes seem to take

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

double SpeedModel::fitted(uint32_t decodes, uint64_t context_tokens) const {
  return times_.fixed_seconds + times_.per_sequence_seconds * decodes +
         times_.per_context_token_seconds * static_cast<double>(context_tokens);
}

double SpeedModel::decode_seconds(uint32_t decodes, uint64_t context_tokens) const {
  if (decodes == 0) return 0;
  return decode_bias_ * fitted(decodes, context_tokens);
}

PrefillPrice SpeedModel::prefill_price(bool beside_decodes) const {
  const PrefillCost& wanted = beside_decodes ? beside_ : alone_;
  if (!wanted.measured()) return recent_.price();
  // Beside decodes a chunk's time is the difference of two larger ones: how it grows is seen better without.
  if (beside_decodes && alone_.growth_known()) return wanted.price(alone_.growth());
  return wanted.price();
}

void SpeedModel::add(const StepMeasure& step) {
  beside_tokens_ *= kBesideKeep;
  if (step.prefill_tokens == 0) {
    steps_beside_ = 0;
    const double expected = decode_seconds(step.decodes, step.context_tokens);
    if (decode_steps_ >= kStepsUnsure) add_jitter(step.seconds - expected);
    return add_decode(step);
  }
  if (step.decodes > 0) ++steps_beside_;
  const bool few = step.prefill_tokens < kPrefillTokensMin;
  if (step.decodes == 0) {
    if (few) return;
    alone_.add(step.prefill_tokens, step.prefill_pairs, step.seconds);
    return recent_.add(step.prefill_tokens, step.prefill_pairs, step.seconds);
  }
  const double decode_seconds = this->decode_seconds(step.decodes, step.context_tokens);
  const double seconds = std::max(step.seconds - decode_seconds, step.seconds * kPrefillShareMin);
  if (decode_seconds > 0) {
    beside_.add(step.prefill_tokens, step.prefill_pairs, seconds);
    beside_tokens_ = std::max<double>(step.prefill_tokens, beside_tokens_);
  }
  if (!few) recent_.add(step.prefill_tokens, step.prefill_pairs, seconds);
  // Prefill may be so little because decoding was thought to be faster than it is: then this says how fast.
  if (step.prefill_tokens > kNextToNothing) return;
  double beside_seconds = 0;
  if (alone_.measured()) {
    const auto price = alone_.price();
    beside_seconds = price.token * step.prefill_tokens + price.pair * step.prefill_pairs;
  }
  if (beside_seconds > kPrefillShareMax * step.seconds) return;
  StepMeasure decoding = step;
  decoding.seconds -= beside_seconds;
  add_decode(decoding);
}

void SpeedModel::add_jitter(double excess_seconds) {
  excesses_[excess_count_++ % kExcesses] = static_cast<float>(excess_seconds);
  if (excess_count_ < kExcesses || excess_count_ % kExcessesPerJitter != 0) return;
  auto sorted = excesses_;
  std::ranges::nth_element(sorted, sorted.begin() + kJitterRank, std::ranges::greater());
  jitter_ = std::max(0.0, static_cast<double>(sorted[kJitterRank]));
}

void SpeedModel::add_decode(const StepMeasure& step) {
  double seconds = step.seconds;
  if (const double known = decode_seconds(step.decodes, step.context_tokens); known > 0) {
    const double usual = outliers_.add(seconds / known) * known;
    if (decode_steps_ >= kStepsUnsure) seconds = usual;
  }
  const std::array<double, 3> terms = {1.0, step.decodes / kSequenceScale,
                                       static_cast<double>(step.context_tokens) / kContextScale};
  for (size_t row = 0; row < 3; ++row) {
    for (size_t column = 0; column < 3; ++column) {
      products_[row][column] = products_[row][column] * kForget + terms[row] * terms[column];
    }
    targets_[row] = targets_[row] * kForget + terms[row] * seconds;
  }
  const double fitted_seconds = fitted(step.decodes, step.context_tokens);
  if (fitted_seconds > 0) {
    const double bias = seconds / fitted_seconds;
    decode_bias_ +=
        kBiasWeight * (std::clamp(bias, decode_bias_ / kBiasStep, decode_bias_ * kBiasStep) - decode_bias_);
  }
  ++decode_steps_;
  if (decode_steps_ < kStepsPerFit || decode_steps_ % kStepsPerFit == 0) fit();
}

void SpeedModel::fit() {
  auto products = products_;
  auto targets = targets_;
  for (size_t i = 0; i < 3; ++i) products[i][i] += kRidge;
  const auto x = solve(products, targets);
  times_.fixed_seconds = std::max(0.0, x[0]);
  times_.per_sequence_seconds = std::max(0.0, x[1] / kSequenceScale);
  times_.per_context_token_seconds = std::max(0.0, x[2] / kContextScale);
}

}  // namespace deepserve::runner
