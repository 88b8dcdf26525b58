#include "daemon/observe/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "daemon/http/server.h"
#include "daemon/observe/metric_names.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kMetrics = static_cast<size_t>(MetricId::kCount);
constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

const std::vector<double> kFirstTokenBounds = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75,
                                               1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640};
const std::vector<double> kInterTokenBounds = {.0005, .001, .0025, .005, .01, .015, .02, .025, .03, .04,
                                               .05,   .075, .1,    .15,  .2,  .3,   .5,  .75,  1,   2.5};
const std::vector<double> kLongBounds = {.01, .03, .1, .3, .5, .8, 1,  1.5, 2,   2.5,
                                         5,   10,  15, 20, 30, 40, 50, 60,  120, 600};

const std::vector<double> kRetryErrorBounds = {.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
// Below 0: it came before the time that nine of ten were predicted to be within.
const std::vector<double> kPredictionErrorBounds = {-30, -10, -5, -2.5, -1, -.5, -.25, -.1, -.05, -.01, 0,
                                                    .01, .05, .1, .25,  .5, 1,   2.5,  5,   10,   30};

// Of a total that may begin again at 0.
uint64_t grown(uint64_t now, uint64_t before) {
  return now >= before ? now - before : now;
}

double resident_bytes() {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"), &std::fclose);
  long whole = 0;
  long resident = 0;
  if (!file || std::fscanf(file.get(), "%ld %ld", &whole, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

struct Metrics::Registry {
  prometheus::Registry registry;
  std::array<prometheus::Family<prometheus::Gauge>*, kMetrics> gauges{};
  std::array<prometheus::Family<prometheus::Counter>*, kMetrics> counters{};
  std::array<prometheus::Family<prometheus::Histogram>*, kMetrics> histograms{};
  std::map<std::string, ipc::Gauges> runners;  // their totals at the last scrape
  struct EccErrors {
    uint64_t corrected = 0;
    uint64_t uncorrected = 0;
  };
  std::map<std::string, EccErrors> gpus;  // the same, by UUID

  Registry() {
    for (size_t i = 0; i < kMetrics; ++i) {
      const MetricRow& row = kMetricRows[i];
      switch (row.kind) {
        case MetricKind::Gauge:
          gauges[i] = &prometheus::BuildGauge().Name(row.name).Help(row.help).Register(registry);
          break;
        case MetricKind::Counter:
          counters[i] = &prometheus::BuildCounter().Name(row.name).Help(row.help).Register(registry);
          break;
        case MetricKind::Histogram:
          histograms[i] = &prometheus::BuildHistogram().Name(row.name).Help(row.help).Register(registry);
          break;
      }
    }
  }

  void set(MetricId id, const prometheus::Labels& labels, double value) {
    gauges[static_cast<size_t>(id)]->Add(labels).Set(value);
  }
  void add(MetricId id, const prometheus::Labels& labels, uint64_t value) {
    counters[static_cast<size_t>(id)]->Add(labels).Increment(static_cast<double>(value));
  }
  // For a total that is counted elsewhere and never falls.
  void raise_to(MetricId id, const prometheus::Labels& labels, uint64_t value) {
    auto& counter = counters[static_cast<size_t>(id)]->Add(labels);
    counter.Increment(std::max(0.0, static_cast<double>(value) - counter.Value()));
  }
  void add(MetricId id, const prometheus::Labels& labels, const std::vector<double>& bounds,
           const std::vector<double>& counts, double sum) {
    histograms[static_cast<size_t>(id)]->Add(labels, bounds).ObserveMultiple(counts, sum);
  }
  // For a row that goes when its runner is no more.
  void set_transient(MetricId id, const prometheus::Labels& labels, double value) {
    auto& family = *gauges[static_cast<size_t>(id)];
    auto& gauge = family.Add(labels);
    gauge.Set(value);
    transient.emplace_back(&family, &gauge);
  }
  void drop_transient() {
    for (const auto& [family, gauge] : transient) family->Remove(gauge);
    transient.clear();
  }

  std::vector<std::pair<prometheus::Family<prometheus::Gauge>*, prometheus::Gauge*>> transient;
};

void LocalHistogram::observe(double value, uint64_t times) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)] += static_cast<double>(times);
  sum_ += value * static_cast<double>(times);
}

Metrics::Metrics()
    : registry_(std::make_unique<Registry>()),
      first_token_(kClasses, LocalHistogram(kFirstTokenBounds)),
      inter_token_(kInterTokenBounds),
      whole_(kLongBounds),
      queued_(kLongBounds),
      retry_after_error_(kRetryErrorBounds),
      prediction_error_(kPredictionErrorBounds) {
  registry_->set(MetricId::kBuildInfo, {{"version", DEEPSERVE_VERSION}}, 1);
}
Metrics::~Metrics() = default;

void Metrics::count_admitted(std::string_view client, ipc::Class service_class, std::string_view outcome,
                             std::string_view reason) {
  ++admitted_[{std::string(client_labels_.label(client)), service_class, outcome, std::string(reason)}];
}

void Metrics::count_accepted(const Acceptance& accepted) {
  count_admitted(accepted.client, accepted.service_class, accepted.degraded ? "degraded" : "accepted", "");
  queued_.observe(accepted.queue_seconds);
  prompt_tokens_ += accepted.prompt_tokens;
}

void Metrics::count_degraded(std::string_view how, uint64_t truncated_bytes) {
  truncated_bytes_ += truncated_bytes;
  constexpr std::string_view kBetween = ", ";
  while (!how.empty()) {
    const size_t end = std::min(how.find(kBetween), how.size());
    ++degraded_[std::string(how.substr(0, end))];
    how.remove_prefix(std::min(end + kBetween.size(), how.size()));
  }
}

void Metrics::count_refused(ipc::Class service_class, std::string_view reason, std::string_view client) {
  count_admitted(client, service_class, "refused", reason);
}

void Metrics::count_finished(ipc::FinishReason reason) {
  ++finished_[std::string(ipc::finish_reason_name(reason))];
}

void Metrics::count_failed(Code code, double seconds) {
  ++failed_[std::string(error_row(code).name)];
  whole_.observe(seconds);
}

void Metrics::observe_first_token(ipc::Class service_class, double seconds) {
  first_token_[static_cast<size_t>(service_class)].observe(seconds);
}

void Metrics::count_runner_restart(std::string_view reason) {
  ++restarts_[std::string(reason)];
}

void Metrics::flush_counters() {
  registry_->add(MetricId::kPromptTokens, {}, std::exchange(prompt_tokens_, 0));
  registry_->add(MetricId::kGenerationTokens, {}, std::exchange(generation_tokens_, 0));
  for (auto& [reason, count] : finished_) {
    registry_->add(MetricId::kRequestSuccess, {{"finished_reason", reason}}, std::exchange(count, 0));
  }
  for (auto& [code, count] : failed_) {
    registry_->add(MetricId::kRequestFailure, {{"code", code}}, std::exchange(count, 0));
  }
  for (auto& [how, count] : degraded_) {
    registry_->add(MetricId::kDegraded, {{"how", how}}, std::exchange(count, 0));
  }
  for (auto& [what, count] : admitted_) {
    const prometheus::Labels labels = {{"class", std::string(ipc::class_name(what.service_class))},
                                       {"outcome", std::string(what.outcome)},
                                       {"reason", what.reason}};
    auto of_client = labels;
    of_client.emplace("client", what.client);
    registry_->add(MetricId::kAdmission, labels, count);
    registry_->add(MetricId::kClientAdmission, of_client, std::exchange(count, 0));
  }
  registry_->add(MetricId::kTruncatedBytes, {}, std::exchange(truncated_bytes_, 0));
  for (auto& [reason, count] : restarts_) {
    registry_->add(MetricId::kRunnerRestarts, {{"reason", reason}}, std::exchange(count, 0));
  }
}

void Metrics::flush_histograms() {
  const auto flush = [this](MetricId id, const prometheus::Labels& labels, LocalHistogram& histogram) {
    registry_->add(id, labels, histogram.bounds_, histogram.counts_, histogram.sum_);
    std::fill(histogram.counts_.begin(), histogram.counts_.end(), 0.0);
    histogram.sum_ = 0;
  };
  for (size_t i = 0; i < kClasses; ++i) {
    flush(MetricId::kFirstToken, {{"class", std::string(ipc::class_name(static_cast<ipc::Class>(i)))}},
          first_token_[i]);
  }
  flush(MetricId::kInterToken, {}, inter_token_);
  flush(MetricId::kWholeRequest, {}, whole_);
  flush(MetricId::kQueueTime, {}, queued_);
  flush(MetricId::kRetryAfterError, {}, retry_after_error_);
  flush(MetricId::kPredictionError, {}, prediction_error_);
}

void Metrics::set_serving(const Serving& serving) {
  const QueueCounts counts = serving.counts();
  registry_->set(MetricId::kRequestsRunning, {}, counts.running);
  for (size_t i = 0; i < kClasses && i < counts.waiting.size(); ++i) {
    registry_->set(MetricId::kRequestsWaiting,
                   {{"class", std::string(ipc::class_name(static_cast<ipc::Class>(i)))}}, counts.waiting[i]);
  }
  registry_->set(MetricId::kBrownoutLevel, {}, counts.brownout_level);
  for (const ModelRow& row : serving.models()) {
    const double state = row.breaker == "closed" ? 0 : row.breaker == "open" ? 2 : 1;
    registry_->set(MetricId::kBreakerState, {{"model", row.name}}, state);
    registry_->raise_to(MetricId::kBreakerOpened, {{"model", row.name}}, row.breaker_opened_total);
  }
  registry_->drop_transient();
  const uint64_t now_ns = monotonic_ns();
  for (const GpuState& gpu : serving.gpus()) set_gpu(gpu, now_ns);
  for (const RunnerRow& row : serving.runners()) {
    const prometheus::Labels labels = {{"runner", row.id}};
    const double blocks = row.gauges.kv_blocks_total;
    registry_->set_transient(MetricId::kRunnerReady, labels, row.state == "ready" ? 1 : 0);
    registry_->set_transient(MetricId::kKvCacheUsage, labels,
                             blocks == 0 ? 0 : 1 - row.gauges.kv_blocks_free / blocks);
    // A new process counts from 0 again.
    ipc::Gauges& last = registry_->runners[row.id];
    registry_->add(MetricId::kPreemptions, labels,
                   grown(row.gauges.preemptions_total, last.preemptions_total));
    registry_->add(MetricId::kPrefixQueries, labels,
                   grown(row.gauges.prefix_queries_total, last.prefix_queries_total));
    registry_->add(MetricId::kPrefixHits, labels,
                   grown(row.gauges.prefix_hits_total, last.prefix_hits_total));
    registry_->add(MetricId::kDraftTokens, labels,
                   grown(row.gauges.draft_tokens_total, last.draft_tokens_total));
    registry_->add(MetricId::kDraftTokensRight, labels,
                   grown(row.gauges.draft_tokens_accepted_total, last.draft_tokens_accepted_total));
    last = row.gauges;
  }
}

// What the driver does not tell at present has no row.
void Metrics::set_gpu(const GpuState& gpu, uint64_t now_ns) {
  const auto& [identity, reading, read_ns, xids] = gpu;
  const prometheus::Labels labels = {{"gpu", std::to_string(identity.index)}, {"uuid", identity.uuid}};
  const auto with = [&labels](const char* name, std::string value) {
    auto more = labels;
    more.emplace(name, std::move(value));
    return more;
  };
  registry_->set_transient(MetricId::kGpuAnswers, labels, gpu.answers(now_ns) ? 1 : 0);
  for (const auto& [xid, times] : xids) {
    const auto number = xid == GpuState::kOtherXids ? "other" : std::to_string(xid);
    registry_->raise_to(MetricId::kGpuXidErrors, with("xid", number), times);
  }
  if (!gpu.answers(now_ns)) return;
  const auto set = [&](MetricId id, const auto& value) {
    if (value) registry_->set_transient(id, labels, static_cast<double>(*value));
  };
  set(MetricId::kGpuUtilization, reading.utilization);
  set(MetricId::kGpuMemoryBusy, reading.memory_utilization);
  set(MetricId::kGpuMemoryUsed, reading.memory_used_bytes);
  set(MetricId::kGpuMemoryTotal, std::optional(identity.memory_bytes));
  set(MetricId::kGpuTemperature, reading.temperature_celsius);
  set(MetricId::kGpuPower, reading.power_watts);
  set(MetricId::kGpuPowerLimit, reading.power_limit_watts);
  set(MetricId::kGpuClock, reading.sm_clock_hz);
  auto& last = registry_->gpus[identity.uuid];
  const auto count = [&](const char* type, const std::optional<uint64_t>& now, uint64_t& before) {
    if (!now) return;
    registry_->add(MetricId::kGpuEccErrors, with("type", type), grown(*now, before));
    before = *now;
  };
  count("corrected", reading.ecc_corrected, last.corrected);
  count("uncorrected", reading.ecc_uncorrected, last.uncorrected);
}

void Metrics::set_kept(size_t answers, size_t bytes) {
  registry_->set(MetricId::kKeptAnswers, {}, static_cast<double>(answers));
  registry_->set(MetricId::kKeptAnswerBytes, {}, static_cast<double>(bytes));
}

void Metrics::set_http(const HttpCounters& http) {
  registry_->set(MetricId::kConnectionsOpen, {}, static_cast<double>(http.connections_open));
  registry_->raise_to(MetricId::kConnections, {}, http.connections_total);
  registry_->raise_to(MetricId::kConnectionsRefused, {}, http.connections_refused_total);
  registry_->raise_to(MetricId::kAcceptFailures, {}, http.accept_failures_total);
  registry_->raise_to(MetricId::kMalformed, {}, http.malformed_total);
  registry_->raise_to(MetricId::kUnauthorized, {}, http.unauthorized_total);
  registry_->raise_to(MetricId::kTimeouts, {}, http.timeouts_total);
  registry_->raise_to(MetricId::kHangUps, {}, http.hang_ups_total);
  registry_->raise_to(MetricId::kSlowReaders, {}, http.slow_readers_total);
  for (size_t digit = 1; digit < http.responses_total.size(); ++digit) {
    registry_->raise_to(MetricId::kResponses, {{"status", std::to_string(digit) + "xx"}},
                        http.responses_total[digit]);
  }
}

std::string Metrics::render(const Serving& serving, const HttpCounters* http) {
  flush_counters();
  flush_histograms();
  set_serving(serving);
  if (http != nullptr) set_http(*http);
  registry_->set(MetricId::kResidentBytes, {}, resident_bytes());
  return prometheus::TextSerializer().Serialize(registry_->registry.Collect());
}

}  // namespace deepserve::daemon
