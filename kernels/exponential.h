// The exponential that weights of tokens come from: the same bits on every CPU and GPU.
#pragma once

#include "kernels/shared_code.h"

namespace deepserve::kernels {

// Weights below e^this of the largest one are taken for zero: a whole vocabulary of them cannot move a draw.
inline constexpr float kExponentMin = -64.0f;

// Adding and taking off 1.5 * 2^23 rounds a float32 to the nearest integer, which its lowest bits then hold.
inline constexpr float kRounder = 12582912.0f;

// exp(x) for x in [kExponentMin, 0], zero below and of NaN: 2^n exp(r) with |r| <= ln(2) / 2, and
// exp(r) = 1 + r q(r), where the polynomial q meets (exp(r) - 1) / r at the six Chebyshev nodes of that range
// (relative error 1e-8).
//
// Lanes, any number of float32: all(value), subtract, multiply_add (a * b + c, rounded once), at_least(a, b)
// -> bits, keep(lanes, bits) (the others zero), times_power(a, n) with n of kRounder + integer.
template <typename Lanes>
DEEPSERVE_SHARED_CODE inline Lanes exponential(Lanes x) {
  const auto kept = Lanes::at_least(x, Lanes::all(kExponentMin));
  const Lanes rounded = Lanes::multiply_add(x, Lanes::all(1.44269504f), Lanes::all(kRounder));
  const Lanes n = Lanes::subtract(rounded, Lanes::all(kRounder));
  // ln(2) in two parts, the first with so few bits that its product with n is exact.
  Lanes r = Lanes::multiply_add(n, Lanes::all(-0.693359375f), x);
  r = Lanes::multiply_add(n, Lanes::all(2.12194440e-4f), r);
  Lanes sum = Lanes::all(1.39336498e-3f);
  sum = Lanes::multiply_add(sum, r, Lanes::all(8.36915523e-3f));
  sum = Lanes::multiply_add(sum, r, Lanes::all(4.16664667e-2f));
  sum = Lanes::multiply_add(sum, r, Lanes::all(0.166665047f));
  sum = Lanes::multiply_add(sum, r, Lanes::all(0.5f));
  sum = Lanes::multiply_add(sum, r, Lanes::all(1.0f));
  sum = Lanes::multiply_add(sum, r, Lanes::all(1.0f));
  return Lanes::keep(Lanes::times_power(sum, rounded), kept);
}

// exp((logits - offset) * scale)
template <typename Lanes>
DEEPSERVE_SHARED_CODE inline Lanes exponential_weight(Lanes logits, Lanes offset, Lanes scale) {
  return exponential(Lanes::multiply(Lanes::subtract(logits, offset), scale));
}

}  // namespace deepserve::kernels
