#include "daemon/admission/output_length.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {
namespace {

// Bucket i holds the answers of more than edge(i - 1) and at most edge(i) tokens.
double edge(size_t bucket) {
  return std::exp2(0.5 * static_cast<double>(bucket));
}

size_t bucket_of(uint32_t tokens) {
  if (tokens <= 1) return 0;
  const double place = std::ceil(2.0 * std::log2(static_cast<double>(tokens)) - 1e-9);
  return std::min(OutputHistogram::kBuckets - 1, static_cast<size_t>(place));
}

}  // namespace

void OutputHistogram::add(uint32_t tokens) {
  ++counts_[bucket_of(tokens)];
  if (++total_ < kFull) return;
  total_ = 0;
  for (auto& count : counts_) total_ += count /= 2;
}

double OutputHistogram::quantile(double q, uint32_t beyond) const {
  const size_t first = beyond == 0 ? 0 : bucket_of(beyond);
  double total = 0;
  for (size_t i = first; i < kBuckets; ++i) total += counts_[i];
  if (total == 0) return 0;
  double left = q * total;
  for (size_t i = first; i < kBuckets; ++i) {
    if (counts_[i] == 0 || left > counts_[i]) {
      left -= counts_[i];
      continue;
    }
    const double low = i == 0 ? 0 : edge(i - 1);
    const double place = low + (edge(i) - low) * left / counts_[i];
    return std::max(place, beyond + 1.0);
  }
  return edge(kBuckets - 1);
}

std::string OutputLength::key_of(uint32_t model, std::string_view client) {
  return std::to_string(model).append(1, '/').append(client);
}

void OutputLength::add(uint32_t model, std::string_view client, uint32_t tokens) {
  models_.at(model).add(tokens);
  auto key = key_of(model, client);
  if (const auto found = by_client_.find(key); found != by_client_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second.place);
    found->second.histogram.add(tokens);
    return;
  }
  if (by_client_.size() >= kClientsMax) {
    by_client_.erase(recent_.back());
    recent_.pop_back();
  }
  recent_.push_front(key);
  auto& of_client = by_client_[std::move(key)];
  of_client.place = recent_.begin();
  of_client.histogram.add(tokens);
}

uint32_t OutputLength::expect(uint32_t model, std::string_view client, uint32_t tokens_max, double q,
                              uint32_t beyond) const {
  if (tokens_max <= beyond) return tokens_max;
  const auto capped = [&](double tokens) {
    const double at_least = static_cast<double>(beyond) + 1;
    return static_cast<uint32_t>(std::clamp(std::ceil(tokens), at_least, static_cast<double>(tokens_max)));
  };
  const auto ask = [&](const OutputHistogram& histogram) {
    return histogram.count() < kEnough ? 0.0 : histogram.quantile(q, beyond);
  };
  if (const auto found = by_client_.find(key_of(model, client)); found != by_client_.end()) {
    if (const double tokens = ask(found->second.histogram); tokens > 0) return capped(tokens);
  }
  if (const double tokens = ask(models_.at(model)); tokens > 0) return capped(tokens);
  if (beyond != 0) return capped(1.5 * beyond);  // longer than any that was seen: about half as much again
  return capped(kUnknown50 + (kUnknown90 - kUnknown50) * std::clamp((q - 0.5) / 0.4, 0.0, 1.0));
}

}  // namespace deepserve::daemon
