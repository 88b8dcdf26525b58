// What a request has been through.
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

void Service::begin_trace(Record& record) {
  record.trace.request = record.id;
  record.trace.client = record.spec.client;
  record.trace.model = served_[record.model]->config.name;
  record.trace.endpoint = record.spec.endpoint;
  record.trace.service_class = record.spec.service_class;
  record.trace.add({.kind = TraceKind::kArrived, .at_ns = record.started_ns});
}

void Service::note(Record& record, TraceKind kind, uint32_t tokens, std::string text) {
  TraceEvent event{kind, monotonic_ns(), {}, -1, tokens, std::move(text)};
  if (record.runner != nullptr) {
    event.runner = record.runner->link->id();
    event.pid = record.runner->link->pid();
  }
  // Of one that died just now the link does not know it any more.
  const auto& events = record.trace.events();
  if (kind == TraceKind::kRunnerDied && event.pid < 0 && !events.empty()) event.pid = events.back().pid;
  record.trace.add(std::move(event));
}

// What was refused or failed has said so already.
void Service::end_trace(Record& record, EndKind how) {
  const auto& events = record.trace.events();
  const auto last = events.empty() ? TraceKind::kCount : events.back().kind;
  if (last != TraceKind::kRefused && last != TraceKind::kFailed) {
    const auto kind = how == EndKind::kFinished ? TraceKind::kFinished
                      : how == EndKind::kFailed ? TraceKind::kFailed
                                                : TraceKind::kCancelled;
    note(record, kind, record.progress.generated_tokens());
  }
  traces_.put(record.trace);
}

std::optional<RequestTrace> Service::trace(RequestId id) const {
  if (const auto found = records_.find(id); found != records_.end()) return found->second->trace;
  return traces_.find(id);
}

}  // namespace deepserve::daemon
