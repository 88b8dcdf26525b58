// The passes of logits.h in plain loops: what every other instruction set must give, to the bit.
#include <bit>

namespace deepserve::kernels {
namespace {

struct Lanes {
  static constexpr const char* kIsa = "scalar";
  static constexpr unsigned kCount = 16;
  float v[kCount];

  static Lanes load(const float* from) { return load_first(from, kCount, 0); }
  static Lanes load_first(const float* from, unsigned long n, float fill) {
    Lanes to;
    for (unsigned i = 0; i < kCount; ++i) to.v[i] = i < n ? from[i] : fill;
    return to;
  }
  static Lanes all(float value) {
    Lanes to;
    for (float& lane : to.v) lane = value;
    return to;
  }
  template <typename Operation>
  static Lanes of(const Lanes& a, const Lanes& b, Operation operation) {
    Lanes to;
    for (unsigned i = 0; i < kCount; ++i) to.v[i] = operation(a.v[i], b.v[i]);
    return to;
  }
  template <typename Relation>
  static unsigned bits_of(const Lanes& a, const Lanes& b, Relation relation) {
    unsigned bits = 0;
    for (unsigned i = 0; i < kCount; ++i) bits |= static_cast<unsigned>(relation(a.v[i], b.v[i])) << i;
    return bits;
  }
  static Lanes add(const Lanes& a, const Lanes& b) {
    return of(a, b, [](float x, float y) { return x + y; });
  }
  static Lanes subtract(const Lanes& a, const Lanes& b) {
    return of(a, b, [](float x, float y) { return x - y; });
  }
  static Lanes multiply(const Lanes& a, const Lanes& b) {
    return of(a, b, [](float x, float y) { return x * y; });
  }
  static Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
    Lanes to;
    for (unsigned i = 0; i < kCount; ++i) to.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
    return to;
  }
  static Lanes larger(const Lanes& a, const Lanes& b) {
    return of(a, b, [](float x, float y) { return x > y ? x : y; });
  }
  static unsigned at_least(const Lanes& a, const Lanes& b) {
    return bits_of(a, b, [](float x, float y) { return x >= y; });
  }
  static unsigned below(const Lanes& a, const Lanes& b) {
    return bits_of(a, b, [](float x, float y) { return x < y; });
  }
  static Lanes choose(unsigned bits, const Lanes& a, const Lanes& b) {
    Lanes to;
    for (unsigned i = 0; i < kCount; ++i) to.v[i] = (bits >> i & 1) != 0 ? a.v[i] : b.v[i];
    return to;
  }
  static Lanes keep(const Lanes& a, unsigned bits) { return choose(bits, a, all(0)); }
  static Lanes times_power(const Lanes& a, const Lanes& n) {
    return of(a, n, [](float x, float power) {
      return std::bit_cast<float>(std::bit_cast<unsigned>(x) + (std::bit_cast<unsigned>(power) << 23));
    });
  }
  void store_first(float* to, unsigned long n) const {
    for (unsigned i = 0; i < n; ++i) to[i] = v[i];
  }
  static unsigned store_indices(unsigned base, unsigned bits, unsigned* to) {
    unsigned stored = 0;
    for (; bits != 0; bits &= bits - 1) to[stored++] = base + static_cast<unsigned>(std::countr_zero(bits));
    return stored;
  }
  float largest() const {
    float best = v[0];
    for (const float lane : v) best = lane > best ? lane : best;
    return best;
  }
  float sum() const {
    Lanes sums = *this;
    for (unsigned half = kCount / 2; half > 0; half /= 2) {
      for (unsigned i = 0; i < half; ++i) sums.v[i] += sums.v[i + half];
    }
    return sums.v[0];
  }
};

}  // namespace
}  // namespace deepserve::kernels

#include "kernels/cpu/logits_rows.h"

namespace deepserve::kernels {

const LogitsKernels& scalar_logits_kernels();

const LogitsKernels& scalar_logits_kernels() {
  return kTable;
}

}  // namespace deepserve::kernels
