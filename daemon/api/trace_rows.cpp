#include "daemon/api/trace_rows.h"

namespace deepserve::daemon {
namespace {

double seconds_between(uint64_t from_ns, uint64_t to_ns) {
  return static_cast<double>((to_ns - from_ns) / 1000) * 1e-6;
}

void append_event(JsonWriter& json, const TraceEvent& event, uint64_t began_ns) {
  json.begin_object()
      .member("at_s", seconds_between(began_ns, event.at_ns))
      .member("event", trace_kind_name(event.kind))
      .member("runner", event.runner)
      .member("pid", event.pid)
      .member("tokens", event.tokens)
      .member("text", event.text)
      .end_object();
}

}  // namespace

void append_row(JsonWriter& json, const RequestTrace& trace) {
  uint32_t dispatches = 0;
  uint32_t deaths = 0;
  for (const TraceEvent& event : trace.events()) {
    if (event.kind == TraceKind::kDispatched) ++dispatches;
    if (event.kind == TraceKind::kRunnerDied) ++deaths;
  }
  json.begin_object()
      .member("id", hex16(trace.request))
      .member("client", trace.client)
      .member("class", ipc::class_name(trace.service_class))
      .member("model", trace.model)
      .member("endpoint", trace.endpoint)
      .member("dispatches", dispatches)
      .member("deaths", deaths)
      .member("left_out", trace.left_out());
  const uint64_t began_ns = trace.events().empty() ? 0 : trace.events().front().at_ns;
  json.member("arrived_s", seconds_between(0, began_ns)).key("events").begin_list();
  for (const TraceEvent& event : trace.events()) append_event(json, event, began_ns);
  json.end_list().end_object();
}

}  // namespace deepserve::daemon
