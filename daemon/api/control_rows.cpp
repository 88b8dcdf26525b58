#include "daemon/api/control_rows.h"

#include <cmath>

namespace deepserve::daemon {
namespace {

// Whole milliseconds are enough for people.
double rounded(double seconds) {
  return std::round(seconds * 1000) / 1000;
}

// `null` for what nobody knows before a runner is ready.
template <typename Field>
void append_fact(JsonWriter& json, std::string_view name, const std::optional<ipc::RunnerState>& facts,
                 Field field) {
  json.key(name);
  if (facts) {
    json.value((*facts).*field);
  } else {
    json.value(nullptr);
  }
}

// `null` for what the driver does not tell.
template <typename Value>
void append_optional(JsonWriter& json, std::string_view name, const std::optional<Value>& value) {
  json.key(name);
  if (value) {
    json.value(*value);
  } else {
    json.value(nullptr);
  }
}

// `null` where there is no limit.
template <typename Value>
void append_limit(JsonWriter& json, std::string_view name, uint64_t limit, Value value) {
  json.key(name);
  if (limit == 0) {
    json.value(nullptr);
  } else {
    json.value(value);
  }
}

}  // namespace

void append_row(JsonWriter& json, const ModelRow& row) {
  using State = ipc::RunnerState;
  json.begin_object()
      .member("name", row.name)
      .member("aliases", row.aliases)
      .member("path", row.path)
      .member("generation", row.generation)
      .member("state", row.state)
      .member("canary", row.canary)
      .member("canary_percent", row.canary_percent)
      .member("shadow", row.shadow)
      .member("shadow_percent", row.shadow_percent)
      .member("order", row.rollout)
      .member("breaker", row.breaker)
      .member("runners", row.runners)
      .member("bytes", row.bytes);
  append_fact(json, "architecture", row.facts, &State::architecture);
  append_fact(json, "parameters", row.facts, &State::parameters);
  append_fact(json, "weights_type", row.facts, &State::weights_type);
  append_fact(json, "context_tokens", row.facts, &State::context_tokens);
  append_fact(json, "context_tokens_model", row.facts, &State::context_tokens_model);
  append_fact(json, "vocabulary", row.facts, &State::vocabulary);
  append_fact(json, "chat_template", row.facts, &State::chat_template);
  append_fact(json, "numerics_id", row.facts, &State::numerics_id);
  json.end_object();
}

void append_row(JsonWriter& json, const RunnerRow& row) {
  json.begin_object()
      .member("id", row.id)
      .member("pid", row.pid)
      .member("device", row.device)
      .member("model", row.model)
      .member("generation", row.generation)
      .member("state", row.state)
      .member("restarts", row.restarts)
      .member("uptime_s", rounded(row.uptime_s))
      .member("last_error", row.last_error)
      .member("steps", row.steps)
      .member("bytes_loaded", row.bytes_loaded)
      .member("requests", row.requests);
  json.key("ranks").begin_list();
  for (const RankRow& rank : row.ranks) {
    json.begin_object().member("rank", rank.rank).member("pid", rank.pid).member("device", rank.device);
    if (!rank.gpu.empty()) {
      json.member("gpu", rank.gpu)
          .member("thread_percent", rank.thread_percent)
          .member("sharing", rank.sharing)
          .member("mps_pid", rank.mps_pid);
    }
    json.end_object();
  }
  json.end_list();
  append_rows(json.key("gpus"), row.gpus);
  append_fact(json, "isa", row.facts, &ipc::RunnerState::isa);
  append_fact(json, "numerics_id", row.facts, &ipc::RunnerState::numerics_id);
  json.member("kv_blocks_total", row.gauges.kv_blocks_total)
      .member("kv_blocks_free", row.gauges.kv_blocks_free)
      .member("sequences_running", row.gauges.sequences_running)
      .member("sequences_waiting", row.gauges.sequences_waiting)
      .member("preemptions_total", row.gauges.preemptions_total)
      .member("prefix_queries_total", row.gauges.prefix_queries_total)
      .member("prefix_hits_total", row.gauges.prefix_hits_total)
      .member("prefill_tokens_per_second", std::round(row.gauges.prefill_tokens_per_second))
      .end_object();
}

void append_row(JsonWriter& json, const RequestRow& row) {
  json.begin_object()
      .member("id", hex16(row.id))
      .member("state", row.state)
      .member("client", row.client)
      .key("peer");
  if (row.peer.known) {
    json.begin_object()
        .member("pid", row.peer.pid)
        .member("uid", row.peer.uid)
        .member("gid", row.peer.gid)
        .end_object();
  } else {
    json.value(nullptr);
  }
  json.member("class", ipc::class_name(row.service_class))
      .member("model", row.model)
      .member("runner", row.runner)
      .member("endpoint", row.endpoint)
      .member("age_s", rounded(row.age_s))
      .member("prompt_tokens", row.prompt_tokens)
      .member("generated_tokens", row.generated_tokens);
  json.key("waits_for");
  if (row.waits_for.empty()) {
    json.value(nullptr);
  } else {
    json.value(row.waits_for);
  }
  json.member("booked", row.booked)
      .member("deadline_in_s", rounded(row.deadline_in_s))
      .member("predicted_ttft_s", rounded(row.predicted_ttft_s))
      .member("cost_s", rounded(row.cost_s))
      .member("ahead_s", rounded(row.ahead_s))
      .member("expected_tokens", row.expected_tokens)
      .end_object();
}

void append_row(JsonWriter& json, const ClientRow& row) {
  json.begin_object().member("client", row.client).member("running", row.running);
  append_limit(json, "max_concurrent", row.concurrent_max, row.concurrent_max);
  append_limit(json, "tokens_left", row.tokens_per_minute, std::floor(row.tokens_left));
  append_limit(json, "tokens_per_minute", row.tokens_per_minute, row.tokens_per_minute);
  json.member("recent_requests", std::round(row.recent_requests))
      .member("recent_retries", std::round(row.recent_retries))
      .member("denied_total", row.denied_total)
      .member("seen_s", rounded(row.seen_s))
      .end_object();
}

void append_row(JsonWriter& json, const GpuState& row) {
  const auto& [identity, reading, read_ns, xids] = row;
  const uint64_t now_ns = monotonic_ns();
  const bool answers = row.answers(now_ns);
  std::optional<std::string> capability;
  if (identity.capability != 0)
    capability = fmt::format("{}.{}", identity.capability / 10, identity.capability % 10);
  std::optional<double> age_s;
  if (read_ns != 0) age_s = rounded(static_cast<double>(now_ns - read_ns) * 1e-9);
  json.begin_object()
      .member("index", identity.index)
      .member("uuid", identity.uuid)
      .member("name", identity.name)
      .member("memory_bytes", identity.memory_bytes);
  append_optional(json, "compute_capability", capability);
  json.member("state", answers ? "ready" : "failed")
      .member("trouble",
              !answers && reading.trouble.empty() ? "its driver does not answer" : reading.trouble);
  append_optional(json, "age_s", age_s);
  append_optional(json, "utilization", reading.utilization);
  append_optional(json, "memory_utilization", reading.memory_utilization);
  append_optional(json, "memory_used_bytes", reading.memory_used_bytes);
  append_optional(json, "memory_free_bytes", reading.memory_free_bytes);
  append_optional(json, "temperature_celsius", reading.temperature_celsius);
  append_optional(json, "power_watts", reading.power_watts);
  append_optional(json, "power_limit_watts", reading.power_limit_watts);
  append_optional(json, "sm_clock_hz", reading.sm_clock_hz);
  append_optional(json, "ecc_corrected", reading.ecc_corrected);
  append_optional(json, "ecc_uncorrected", reading.ecc_uncorrected);
  json.key("xids").begin_object();
  for (const auto& [xid, times] : xids)
    json.member(xid == GpuState::kOtherXids ? "other" : std::to_string(xid), times);
  json.end_object().end_object();
}

}  // namespace deepserve::daemon
