#include "daemon/api/control.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/api/control_rows.h"
#include "daemon/api/drain_routes.h"
#include "daemon/api/late_responder.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/model_orders.h"
#include "daemon/api/trace_rows.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

using Nobody = std::unique_ptr<Responder>;  // answered at once

template <typename Append>
Nobody respond_json(Exchange& exchange, Append append) {
  HttpResponse response;
  JsonWriter json(response.body);
  append(json);
  response.body += '\n';
  exchange.respond(std::move(response));
  return nullptr;
}

Nobody respond_error(Exchange& exchange, const Error& error) {
  exchange.respond(error_response(error));
  return nullptr;
}

template <typename Row>
std::optional<Row> find_row(std::vector<Row> rows, const auto& id) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.id == id; });
  if (found == rows.end()) return std::nullopt;
  return std::move(*found);
}

Error no_runner(const Serving& serving, const std::string& id) {
  std::string names;
  for (const RunnerRow& row : serving.runners()) names += (names.empty() ? "" : ", ") + row.id;
  return {Code::kNotFound,
          "there is no runner '" + id + "'; there " + (names.empty() ? "is none" : "are: " + names)};
}

// 0 for what is no request id.
RequestId request_id_from(const std::string& text) {
  uint64_t id = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  return problem == std::errc() && end == text.data() + text.size() ? id : 0;
}

Error no_request(const std::string& id) {
  return {Code::kNotFound, "there is no request '" + id + "' now"};
}

HttpResponse runner_response(const Serving& serving, const std::string& id) {
  const auto row = find_row(serving.runners(), id);
  if (!row) return error_response(no_runner(serving, id));
  HttpResponse response;
  JsonWriter json(response.body);
  append_row(json, *row);
  response.body += '\n';
  return response;
}

using RunnerOrder = void (Serving::*)(const std::string& id, std::function<void(Result<void>)> done);

// Waits until a runner has been restarted, or reset.
std::unique_ptr<Responder> carry_out(Exchange& exchange, Serving& serving, const std::string& id,
                                     RunnerOrder order) {
  return std::make_unique<LateResponder>(
      exchange,
      [&serving, id](const Result<void>& result) {
        return result ? runner_response(serving, id) : error_response(result.error());
      },
      [&](LateResponder::Done done) { (serving.*order)(id, std::move(done)); });
}

void append_status(JsonWriter& json, const Serving& serving, const ControlOptions& options) {
  const QueueCounts counts = serving.counts();
  uint64_t waiting = 0;
  for (const uint32_t count : counts.waiting) waiting += count;
  json.begin_object()
      .member("version", DEEPSERVE_VERSION)
      .member("pid", ::getpid())
      .member("uptime_s", static_cast<double>((monotonic_ns() - options.started_ns) / kMillisecond_ns) / 1000)
      .member("ready", serving.ready())
      .member("stopping", serving.stopping())
      .member("draining", counts.draining)
      .member("runtime_dir", options.runtime_dir)
      .key("models");
  append_rows(json, serving.models());
  append_rows(json.key("runners"), serving.runners());
  append_rows(json.key("gpus"), serving.gpus());
  json.key("classes").begin_object();
  for (size_t i = 0; i < counts.waiting.size(); ++i) {
    json.key(ipc::class_name(static_cast<ipc::Class>(i)))
        .begin_object()
        .member("waiting", counts.waiting[i])
        .end_object();
  }
  json.end_object()
      .member("brownout", counts.brownout)
      .key("requests")
      .begin_object()
      .member("running", counts.running)
      .member("waiting", waiting);
  json.end_object().end_object();
}

void add_runner_routes(Router& router, Serving& serving) {
  router.add("GET", "/ctl/runners", [&serving](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) { append_rows(json, serving.runners()); });
  });
  router.add("GET", "/ctl/runners/{id}",
             [&serving](Exchange& exchange, const PathParameters& parameters) -> Nobody {
               exchange.respond(runner_response(serving, parameters[0]));
               return nullptr;
             });
  const auto add_order = [&router, &serving](const char* path, RunnerOrder order) {
    router.add("POST", path,
               [&serving, order](Exchange& exchange, const PathParameters& parameters) -> Nobody {
                 if (!find_row(serving.runners(), parameters[0])) {
                   return respond_error(exchange, no_runner(serving, parameters[0]));
                 }
                 return carry_out(exchange, serving, parameters[0], order);
               });
  };
  add_order("/ctl/runners/{id}/restart", &Serving::restart_runner);
  add_order("/ctl/runners/{id}/reset", &Serving::reset_runner);
}

void add_request_routes(Router& router, Serving& serving) {
  router.add("GET", "/ctl/requests", [&serving](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) { append_rows(json, serving.requests()); });
  });
  router.add("GET", "/ctl/requests/{id}", [&serving](Exchange& exchange, const PathParameters& parameters) {
    const auto row = find_row(serving.requests(), request_id_from(parameters[0]));
    if (!row) return respond_error(exchange, no_request(parameters[0]));
    return respond_json(exchange, [&](JsonWriter& json) { append_row(json, *row); });
  });
  router.add("GET", "/ctl/requests/{id}/trace", [&serving](Exchange& exchange, const PathParameters& ids) {
    const auto trace = serving.trace(request_id_from(ids[0]));
    if (!trace) return respond_error(exchange, no_request(ids[0]));
    return respond_json(exchange, [&](JsonWriter& json) { append_row(json, *trace); });
  });
  router.add(
      "POST", "/ctl/requests/{id}/cancel", [&serving](Exchange& exchange, const PathParameters& parameters) {
        const RequestId id = request_id_from(parameters[0]);
        const auto cancelled = id == 0 ? Result<void>(fail(Code::kNotFound, "no id")) : serving.cancel(id);
        if (!cancelled && cancelled.error().code == Code::kNotFound)
          return respond_error(exchange, no_request(parameters[0]));
        if (!cancelled) return respond_error(exchange, cancelled.error());
        return respond_json(exchange, [&](JsonWriter& json) {
          json.begin_object().member("id", hex16(id)).member("state", "cancelled").end_object();
        });
      });
}

void add_queue_routes(Router& router, Serving& serving) {
  router.add("GET", "/ctl/queue", [&serving](Exchange& exchange, const PathParameters&) {
    auto rows = serving.requests();
    std::erase_if(rows, [](const RequestRow& row) { return row.state != "queued"; });
    return respond_json(exchange, [&](JsonWriter& json) { append_rows(json, rows); });
  });
  router.add("GET", "/ctl/clients", [&serving](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) { append_rows(json, serving.clients()); });
  });
}

void add_model_rows(Router& router, Serving& serving) {
  router.add("GET", "/ctl/models", [&serving](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) { append_rows(json, serving.models()); });
  });
  router.add("GET", "/ctl/models/{name...}",
             [&serving](Exchange& exchange, const PathParameters& parameters) {
               const auto model = find_model(serving, parameters[0]);
               if (!model) return respond_error(exchange, model.error());
               return respond_json(exchange, [&](JsonWriter& json) { append_row(json, *model); });
             });
}

}  // namespace

Control::Control(Serving& serving, ControlOptions options)
    : serving_(serving), options_(std::move(options)) {}

void Control::add_routes(Router& router) {
  router.add("GET", "/ctl/status", [this](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) { append_status(json, serving_, options_); });
  });
  router.add("GET", "/ctl/config", [this](Exchange& exchange, const PathParameters&) {
    return respond_json(exchange, [&](JsonWriter& json) {
      json.begin_object().member("path", options_.config_path).key("config");
      json.raw(options_.config_json ? options_.config_json() : "null").end_object();
    });
  });
  for (const bool applies : {false, true}) {
    router.add(applies ? "POST" : "GET", applies ? "/ctl/config/reload" : "/ctl/config/diff",
               [this, applies](Exchange& exchange, const PathParameters&) {
                 if (!options_.config_changes)
                   return respond_error(exchange, {Code::kNotSupported, "no file"});
                 const auto changes = options_.config_changes(applies);
                 if (!changes) return respond_error(exchange, changes.error());
                 return respond_json(exchange, [&](JsonWriter& json) { json.raw(*changes); });
               });
  }
  add_model_rows(router, serving_);
  add_model_order_routes(router, serving_);
  add_runner_routes(router, serving_);
  add_drain_routes(router, serving_);
  add_request_routes(router, serving_);
  add_queue_routes(router, serving_);
}

}  // namespace deepserve::daemon
