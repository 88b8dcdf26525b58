#include "daemon/api/error_details.h"

#include "ipc/base/clock.h"

namespace deepserve::daemon {

ErrorDetails refusal_details(const Refusal& refusal) {
  ErrorDetails details = failure_details(refusal.error, refusal.service_class);
  if (!refusal.reason.empty()) details.reason = refusal.reason;
  if (refusal.retry_after_ms != 0) details.retry_after_ms = refusal.retry_after_ms;
  // Rounded up: 0 means that it is not known.
  details.predicted_ttft_ms = (refusal.predicted_ttft_ns + kMillisecond_ns - 1) / kMillisecond_ns;
  details.deadline_ms = (refusal.deadline_ns + kMillisecond_ns - 1) / kMillisecond_ns;
  details.booked = refusal.booked;
  details.ticket = refusal.ticket;
  details.degraded = refusal.degraded;
  return details;
}

ErrorDetails failure_details(const Error& error, ipc::Class service_class) {
  ErrorDetails details;
  const ErrorRow& row = error_row(error.code);
  details.retry_is_useless = error.code == Code::kRequestTimeout || error.code == Code::kConflict;
  if (row.http_status != 503 && row.http_status != 429) return details;
  details.reason = row.name;
  details.service_class = ipc::class_name(service_class);
  details.retry_after_ms = 1000;  // a 503 or 429 always says when
  return details;
}

}  // namespace deepserve::daemon
