#include "ctl/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace deepserve::ctl::bench {
namespace {

constexpr unsigned kLinear_bits = 6;
constexpr uint64_t kLinear = uint64_t{1} << kLinear_bits;  // buckets to each power of two

// Values below 2 kLinear have a bucket each; above, the top kLinear_bits + 1 bits choose.
size_t bucket_of(uint64_t value) {
  if (value < 2 * kLinear) return value;
  const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - (kLinear_bits + 1);
  return shift * kLinear + (value >> shift);
}

// The middle of a bucket.
uint64_t value_of(size_t bucket) {
  if (bucket < 2 * kLinear) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket / kLinear) - 1;
  return ((bucket - shift * kLinear) << shift) + (uint64_t{1} << shift) / 2;
}

}  // namespace

void Histogram::record(uint64_t value_ns, uint64_t times) {
  const size_t bucket = bucket_of(value_ns);
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  buckets_[bucket] += times;
  count_ += times;
  max_ns_ = std::max(max_ns_, value_ns);
  sum_ns_ += static_cast<double>(value_ns) * static_cast<double>(times);
}

void Histogram::add(const Histogram& other) {
  if (other.buckets_.size() > buckets_.size()) buckets_.resize(other.buckets_.size());
  for (size_t i = 0; i < other.buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
}

double Histogram::mean_ns() const {
  return count_ == 0 ? 0 : sum_ns_ / static_cast<double>(count_);
}

uint64_t Histogram::percentile_ns(double part) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(count_));
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
  if (rank >= count_) return max_ns_;
  uint64_t passed = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    passed += buckets_[i];
    if (passed >= rank) return std::min(value_of(i), max_ns_);
  }
  return max_ns_;
}

}  // namespace deepserve::ctl::bench
