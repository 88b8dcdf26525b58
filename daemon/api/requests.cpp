// /v1/requests/{id}: what has become of a client's own request, and its end before its time.
#include "daemon/api/client_identity.h"
#include "daemon/api/error_details.h"
#include "daemon/api/json_writer.h"
#include "daemon/api/request_id.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// null for what has not happened yet.
void append_milliseconds(JsonWriter& json, std::string_view name, uint64_t from_ns, uint64_t to_ns) {
  json.key(name);
  if (to_ns < from_ns) {
    json.value(nullptr);
  } else {
    json.value(static_cast<double>((to_ns - from_ns) / 1000) / 1000);
  }
}

void append_usage(JsonWriter& json, const ipc::Usage& usage, uint64_t truncated_bytes) {
  json.key("usage")
      .begin_object()
      .member("prompt_tokens", usage.prompt_tokens)
      .member("completion_tokens", usage.completion_tokens)
      .member("total_tokens", uint64_t{usage.prompt_tokens} + usage.completion_tokens);
  json.key("prompt_tokens_details").begin_object().member("cached_tokens", usage.cached_tokens);
  if (truncated_bytes != 0) json.member("truncated_bytes", truncated_bytes);
  json.end_object();
  json.key("completion_tokens_details")
      .begin_object()
      .member("accepted_prediction_tokens", usage.drafts_accepted)
      .member("rejected_prediction_tokens", usage.drafts_rejected)
      .end_object();
  json.end_object();
}

void append_status(JsonWriter& json, const AnswerStatus& status, uint64_t now_ns) {
  json.begin_object()
      .member("id", hex16(status.id))
      .member("object", "request")
      .member("state", answer_state_name(status.state))
      .member("endpoint", status.endpoint)
      .member("model", status.model)
      .member("class", ipc::class_name(status.service_class))
      .member("created", status.created_unix);
  append_usage(json, status.usage, status.truncated_bytes);
  json.key("finish_reasons").begin_list();
  for (const auto& reason : status.finish_reasons) {
    if (reason) {
      json.value(ipc::finish_reason_name(*reason));
    } else {
      json.value(nullptr);
    }
  }
  json.end_list().key("error");
  if (status.error) {
    json.begin_object()
        .member("message", status.error->message)
        .member("code", error_row(status.error->code).name)
        .end_object();
  } else {
    json.value(nullptr);
  }
  json.key("timings").begin_object();
  append_milliseconds(json, "queued_ms", status.started_ns, status.accepted_ns);
  append_milliseconds(json, "first_token_ms", status.started_ns, status.first_token_ns);
  append_milliseconds(json, "total_ms", status.started_ns, status.ended_ns != 0 ? status.ended_ns : now_ns);
  json.end_object().end_object();
}

// One answer for an id that never was, was too long ago, or is another client's: nobody learns which.
std::unique_ptr<Responder> respond_not_found(Exchange& exchange) {
  exchange.respond(error_response({Code::kNotFound, "there is no request of this id, or not any more"}));
  return nullptr;
}

std::unique_ptr<Responder> respond_stranger(Exchange& exchange, const Error& error) {
  exchange.respond(error_response(error, {.param = "X-Deepserve-Client"}));
  return nullptr;
}

std::unique_ptr<Responder> respond_status(Exchange& exchange, const ApiParts& parts, const std::string& id) {
  const uint64_t now_ns = monotonic_ns();
  const auto client = client_of(exchange.request(), parts.options);
  if (!client) return respond_stranger(exchange, client.error());
  const auto status = parts.log.find(request_id_of(id), *client, now_ns);
  if (!status) return respond_not_found(exchange);
  HttpResponse response;
  JsonWriter json(response.body);
  append_status(json, *status, now_ns);
  response.body += '\n';
  exchange.respond(std::move(response));
  return nullptr;
}

std::unique_ptr<Responder> cancel_request(Exchange& exchange, const ApiParts& parts, const std::string& id) {
  const auto client = client_of(exchange.request(), parts.options);
  if (!client) return respond_stranger(exchange, client.error());
  if (auto* running = parts.log.find_running(request_id_of(id), *client)) {
    running->cancel();
    return respond_status(exchange, parts, id);
  }
  const auto ended = parts.log.find(request_id_of(id), *client, monotonic_ns());
  if (!ended) return respond_not_found(exchange);
  const Error error{Code::kConflict,
                    "the request has ended: " + std::string(answer_state_name(ended->state))};
  exchange.respond(error_response(error, failure_details(error, ended->service_class)));
  return nullptr;
}

}  // namespace

void add_request_routes(Router& router, const ApiParts& parts) {
  router.add("GET", "/v1/requests/{id}", [parts](Exchange& exchange, const PathParameters& path) {
    return respond_status(exchange, parts, path[0]);
  });
  router.add("DELETE", "/v1/requests/{id}", [parts](Exchange& exchange, const PathParameters& path) {
    return cancel_request(exchange, parts, path[0]);
  });
  router.add("POST", "/v1/requests/{id}/cancel", [parts](Exchange& exchange, const PathParameters& path) {
    return cancel_request(exchange, parts, path[0]);
  });
  add_event_routes(router, parts);
}

}  // namespace deepserve::daemon
