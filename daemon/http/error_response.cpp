#include "daemon/http/error_response.h"

#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

std::string_view error_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, value);
}

// Nothing for 0.
void append_known(std::string& out, std::string_view name, uint64_t value) {
  if (value == 0) return;
  out += ",\"";
  out += name;
  out += "\":";
  append_number(out, value);
}

}  // namespace

void append_error_json(std::string& out, const Error& error, const ErrorDetails& details) {
  const ErrorRow& row = error_row(error.code);
  out += "{\"error\":{\"message\":";
  append_json_string(out, error.message);
  append_member(out, "type", error_type(row.http_status));
  if (details.param.empty()) {
    out += ",\"param\":null";
  } else {
    append_member(out, "param", details.param);
  }
  append_member(out, "code", row.name);
  if (!details.reason.empty()) append_member(out, "reason", details.reason);
  if (!details.service_class.empty()) append_member(out, "class", details.service_class);
  append_known(out, "predicted_ttft_ms", details.predicted_ttft_ms);
  append_known(out, "deadline_ms", details.deadline_ms);
  append_known(out, "retry_after_ms", details.retry_after_ms);
  if (details.retry_after_ms != 0) out += details.booked ? ",\"booked\":true" : ",\"booked\":false";
  out += "}}";
}

HttpResponse error_response(const Error& error, const ErrorDetails& details) {
  HttpResponse response{.status = error_row(error.code).http_status};
  append_error_json(response.body, error, details);
  response.body += '\n';
  if (response.status == 401) response.fields.emplace_back("WWW-Authenticate", "Bearer");
  if (details.retry_is_useless) response.fields.emplace_back("x-should-retry", "false");
  if (details.retry_after_ms != 0) {
    response.fields.emplace_back("Retry-After", std::to_string((details.retry_after_ms + 999) / 1000));
    response.fields.emplace_back("retry-after-ms", std::to_string(details.retry_after_ms));
  }
  if (!details.ticket.empty()) response.fields.emplace_back("X-Deepserve-Ticket", details.ticket);
  if (!details.degraded.empty()) response.fields.emplace_back("X-Deepserve-Degraded", details.degraded);
  return response;
}

}  // namespace deepserve::daemon
