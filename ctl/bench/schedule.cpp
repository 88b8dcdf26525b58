#include "ctl/bench/schedule.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::ctl::bench {
namespace {

// Seeds of independent streams (the finaliser of SplitMix64): neighbouring seeds must not look alike.
uint64_t stream_seed(uint64_t seed, uint64_t stream) {
  uint64_t mixed = seed + (stream + 1) * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

constexpr uint64_t kRequest_stream = kClass_count;  // the requests of each class, after their arrivals

uint32_t draw_client(uint32_t clients, std::mt19937_64& generator) {
  return std::uniform_int_distribution<uint32_t>(0, clients - 1)(generator);
}

}  // namespace

RateSchedule::RateSchedule(const PerClass<double>& rates_per_s, double gap_cv, const Workload& workload,
                           uint64_t end_ns, uint64_t seed)
    : workload_(workload), end_ns_(end_ns) {
  for (size_t i = 0; i < kClass_count; ++i) {
    if (rates_per_s[i] <= 0) continue;
    Arrivals arrivals(rates_per_s[i], gap_cv, stream_seed(seed, i));
    const uint64_t first_ns = arrivals.next_ns();
    std::mt19937_64 requests(stream_seed(seed, kRequest_stream + i));
    streams_.push_back({static_cast<ServiceClass>(i), std::move(arrivals), requests, first_ns});
  }
}

std::vector<RateSchedule::Stream>::const_iterator RateSchedule::earliest() const {
  return std::min_element(streams_.begin(), streams_.end(),
                          [](const Stream& a, const Stream& b) { return a.next_ns < b.next_ns; });
}

std::optional<uint64_t> RateSchedule::next_at_ns() const {
  if (streams_.empty()) return std::nullopt;
  const uint64_t next_ns = earliest()->next_ns;
  return next_ns < end_ns_ ? std::optional(next_ns) : std::nullopt;
}

Planned RateSchedule::take() {
  CHECK(next_at_ns());
  Stream& stream = streams_[static_cast<size_t>(earliest() - streams_.begin())];
  Planned planned;
  planned.at_ns = stream.next_ns;
  planned.service_class = stream.service_class;
  planned.client = draw_client(workload_.clients, stream.requests);
  planned.prompt_tokens = workload_.prompt.draw(stream.requests);
  planned.max_tokens = workload_.output.draw(stream.requests);
  planned.text_seed = stream.requests();
  stream.next_ns = stream.arrivals.next_ns();
  return planned;
}

TraceSchedule::TraceSchedule(const std::vector<TraceRow>& rows, uint32_t clients, uint64_t end_ns,
                             uint64_t seed)
    : rows_(rows), clients_(clients), end_ns_(end_ns), generator_(stream_seed(seed, kRequest_stream)) {}

std::optional<uint64_t> TraceSchedule::next_at_ns() const {
  if (next_ == rows_.size() || rows_[next_].at_ns >= end_ns_) return std::nullopt;
  return rows_[next_].at_ns;
}

Planned TraceSchedule::take() {
  CHECK(next_at_ns());
  const TraceRow& row = rows_[next_++];
  Planned planned{.at_ns = row.at_ns,
                  .service_class = row.service_class,
                  .client = draw_client(clients_, generator_),
                  .prompt_tokens = row.prompt_tokens,
                  .max_tokens = row.max_tokens};
  planned.text_seed = generator_();
  return planned;
}

ClosedSchedule::ClosedSchedule(const ClassMix& mix, const Workload& workload, uint64_t end_ns, uint64_t seed)
    : mix_(mix), workload_(workload), generator_(stream_seed(seed, kRequest_stream)), end_ns_(end_ns) {
  for (uint32_t client = 0; client < workload_.clients; ++client) free_.push({0, client});
}

std::optional<uint64_t> ClosedSchedule::next_at_ns() const {
  if (free_.empty() || free_.top().at_ns >= end_ns_) return std::nullopt;
  return free_.top().at_ns;
}

Planned ClosedSchedule::take() {
  CHECK(next_at_ns());
  const Free next = free_.top();
  free_.pop();
  Planned planned;
  planned.at_ns = next.at_ns;
  planned.client = next.client;
  planned.service_class = mix_.class_at((next.client + 0.5) / workload_.clients);
  planned.prompt_tokens = workload_.prompt.draw(generator_);
  planned.max_tokens = workload_.output.draw(generator_);
  planned.text_seed = generator_();
  return planned;
}

void ClosedSchedule::ended(const Planned& planned, uint64_t free_at_ns) {
  free_.push({free_at_ns, planned.client});
}

}  // namespace deepserve::ctl::bench
