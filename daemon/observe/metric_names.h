// The table of all metrics: enumerator, kind, name (after the prefix "deepserve_"), what it says.
// Names follow vLLM and the OpenTelemetry gen_ai conventions where those have one (DESIGN 12).
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::daemon {

// clang-format off
#define DEEPSERVE_METRIC_TABLE(X) \
  X(kBuildInfo,          Gauge,     "build_info",                     "1; the version is a label") \
  X(kResidentBytes,      Gauge,     "process_resident_memory_bytes",  "Memory that dsd itself holds") \
  X(kRequestsRunning,    Gauge,     "num_requests_running",           "Requests that a runner works on") \
  X(kRequestsWaiting,    Gauge,     "num_requests_waiting",           "Requests in dsd's queue, by class") \
  X(kKvCacheUsage,       Gauge,     "kv_cache_usage_perc",            "Share of KV blocks in use") \
  X(kRunnerReady,        Gauge,     "runner_ready",                   "1 while the runner serves") \
  X(kBrownoutLevel,      Gauge,     "brownout_level",                 "Step of the ladder; 0: none") \
  X(kBreakerState,       Gauge,     "breaker_state",                  "0 closed, 1 half open, 2 open") \
  X(kBreakerOpened,      Counter,   "breaker_opened_total",           "Times that a model's breaker opened") \
  X(kPromptTokens,       Counter,   "prompt_tokens_total",            "Tokens of accepted prompts") \
  X(kGenerationTokens,   Counter,   "generation_tokens_total",        "Tokens generated") \
  X(kRequestSuccess,     Counter,   "request_success_total",          "Choices that finished, by reason") \
  X(kRequestFailure,     Counter,   "request_failure_total",          "Requests failed, by error code") \
  X(kAdmission,          Counter,   "admission_total",                "Accepted, degraded, refused, why") \
  X(kClientAdmission,    Counter,   "client_admission_total",         "The same by client: 32, and other") \
  X(kDegraded,           Counter,   "degraded_answers_total",         "Answers not as asked for, and how") \
  X(kTruncatedBytes,     Counter,   "truncated_prompt_bytes_total",   "Bytes of prompts that were left out") \
  X(kPreemptions,        Counter,   "num_preemptions_total",          "Sequences that lost their KV blocks") \
  X(kPrefixQueries,      Counter,   "prefix_cache_queries_total",     "Tokens looked up in the cache") \
  X(kPrefixHits,         Counter,   "prefix_cache_hits_total",        "Tokens found there") \
  X(kDraftTokens,        Counter,   "spec_decode_num_draft_tokens_total", "Tokens drafted and run") \
  X(kDraftTokensRight,   Counter,   "spec_decode_num_accepted_tokens_total", "Drafts that were right") \
  X(kRunnerRestarts,     Counter,   "runner_restarts_total",          "Runners started anew, by reason") \
  X(kGpuAnswers,         Gauge,     "gpu_answers",                    "1 while the driver tells of the GPU") \
  X(kGpuUtilization,     Gauge,     "gpu_utilization_ratio",          "Of the time, some kernel ran") \
  X(kGpuMemoryBusy,      Gauge,     "gpu_memory_utilization_ratio",   "Of the time, its memory was used") \
  X(kGpuMemoryUsed,      Gauge,     "gpu_memory_used_bytes",          "Of the GPU, by all processes") \
  X(kGpuMemoryTotal,     Gauge,     "gpu_memory_total_bytes",         "That the GPU has") \
  X(kGpuTemperature,     Gauge,     "gpu_temperature_celsius",        "Of the GPU") \
  X(kGpuPower,           Gauge,     "gpu_power_watts",                "That the GPU draws") \
  X(kGpuPowerLimit,      Gauge,     "gpu_power_limit_watts",          "That it is held to") \
  X(kGpuClock,           Gauge,     "gpu_sm_clock_hertz",             "Of its multiprocessors") \
  X(kGpuEccErrors,       Counter,   "gpu_ecc_errors_total",           "Of its memory; type: (un)corrected") \
  X(kGpuXidErrors,       Counter,   "gpu_xid_errors_total",           "That the driver told, by number") \
  X(kFirstToken,         Histogram, "time_to_first_token_seconds",    "From request to first token") \
  X(kInterToken,         Histogram, "inter_token_latency_seconds",    "Between the tokens of a choice") \
  X(kWholeRequest,       Histogram, "e2e_request_latency_seconds",    "From the request to its end") \
  X(kQueueTime,          Histogram, "request_queue_time_seconds",     "From request to its acceptance") \
  X(kRetryAfterError,    Histogram, "retry_after_error_seconds",      "Waited by who came for his slot") \
  X(kPredictionError,    Histogram, "ttft_prediction_error_seconds",  "First token, less its predicted p90") \
  X(kKeptAnswers,        Gauge,     "kept_answers",                   "Answers that can be resumed") \
  X(kKeptAnswerBytes,    Gauge,     "kept_answer_bytes",              "What is kept of them, in memory") \
  X(kConnectionsOpen,    Gauge,     "http_connections_open",          "Client connections now") \
  X(kConnections,        Counter,   "http_connections_total",         "Client connections accepted") \
  X(kConnectionsRefused, Counter,   "http_connections_refused_total", "Connections beyond the cap") \
  X(kAcceptFailures,     Counter,   "http_accept_failures_total",     "Accepts failed for want of files") \
  X(kMalformed,          Counter,   "http_malformed_requests_total",  "Requests that were no proper HTTP") \
  X(kUnauthorized,       Counter,   "http_unauthorized_requests_total", "Requests without a known API key") \
  X(kTimeouts,           Counter,   "http_request_timeouts_total",    "Requests that came too slowly") \
  X(kHangUps,            Counter,   "http_hang_ups_total",            "Clients gone before their answer") \
  X(kSlowReaders,        Counter,   "http_slow_readers_total",        "Clients cut off for not reading") \
  X(kResponses,          Counter,   "http_responses_total",           "Answers, by the status' first digit")
// clang-format on

enum class MetricId : uint8_t {
#define X(enumerator, ...) enumerator,
  DEEPSERVE_METRIC_TABLE(X)
#undef X
      kCount
};

enum class MetricKind : uint8_t { Gauge, Counter, Histogram };

struct MetricRow {
  MetricKind kind;
  const char* name;
  const char* help;
};

inline constexpr MetricRow kMetricRows[] = {
#define X(enumerator, kind, name, help) MetricRow{MetricKind::kind, "deepserve_" name, help},
    DEEPSERVE_METRIC_TABLE(X)
#undef X
};

}  // namespace deepserve::daemon
