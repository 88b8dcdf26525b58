#include "daemon/http/error_response.h"

#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

std::string_view error_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, value);
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
  if (details.retry_after_ms != 0) {
    out += ",\"retry_after_ms\":";
    append_number(out, details.retry_after_ms);
  }
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
  return response;
}

ErrorDetails refusal_details(const Refusal& refusal) {
  ErrorDetails details = failure_details(refusal.error, refusal.service_class);
  if (!refusal.reason.empty()) details.reason = refusal.reason;
  if (refusal.retry_after_ms != 0) details.retry_after_ms = refusal.retry_after_ms;
  return details;
}

ErrorDetails failure_details(const Error& error, ipc::Class service_class) {
  ErrorDetails details;
  const ErrorRow& row = error_row(error.code);
  details.retry_is_useless = error.code == Code::kRequestTimeout || error.code == Code::kConflict;
  if (row.http_status != 503) return details;
  details.reason = row.name;
  details.service_class = ipc::class_name(service_class);
  details.retry_after_ms = 1000;  // a 503 always says when
  return details;
}

}  // namespace deepserve::daemon
