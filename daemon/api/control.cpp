#include "daemon/api/control.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/api/control_rows.h"
#include "daemon/api/model_lookup.h"
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
  return {Code::kNotFound, "there is no runner '" + id + "'; there is: " + names};
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

Nobody respond_runner(Exchange& exchange, const Serving& serving, const std::string& id) {
  const auto row = find_row(serving.runners(), id);
  if (!row) return respond_error(exchange, no_runner(serving, id));
  return respond_json(exchange, [&](JsonWriter& json) { append_row(json, *row); });
}

// Waits until a runner has been restarted. What Serving calls may come after the client has gone.
class RestartResponder final : public Responder {
 public:
  RestartResponder(Exchange& exchange, Serving& serving, std::string id)
      : exchange_(exchange), serving_(serving), id_(id) {
    serving.restart_runner(id, [this, alive = std::weak_ptr<bool>(alive_)](Result<void> result) {
      if (!alive.expired()) done(result);
    });
  }

 private:
  void done(const Result<void>& result) {
    if (result) {
      respond_runner(exchange_, serving_, id_);
    } else {
      respond_error(exchange_, result.error());
    }
  }

  Exchange& exchange_;
  Serving& serving_;
  const std::string id_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with the callback only
};

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
      .member("runtime_dir", options.runtime_dir)
      .key("models");
  append_rows(json, serving.models());
  append_rows(json.key("runners"), serving.runners());
  json.key("classes").begin_object();
  for (size_t i = 0; i < counts.waiting.size(); ++i) {
    json.key(ipc::class_name(static_cast<ipc::Class>(i)))
        .begin_object()
        .member("waiting", counts.waiting[i])
        .end_object();
  }
  json.end_object()
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
  router.add("GET", "/ctl/runners/{id}", [&serving](Exchange& exchange, const PathParameters& parameters) {
    return respond_runner(exchange, serving, parameters[0]);
  });
  router.add("POST", "/ctl/runners/{id}/restart",
             [&serving](Exchange& exchange, const PathParameters& parameters) -> Nobody {
               if (!find_row(serving.runners(), parameters[0])) {
                 return respond_error(exchange, no_runner(serving, parameters[0]));
               }
               return std::make_unique<RestartResponder>(exchange, serving, parameters[0]);
             });
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
  add_model_rows(router, serving_);
  add_runner_routes(router, serving_);
  add_request_routes(router, serving_);
  add_queue_routes(router, serving_);
}

}  // namespace deepserve::daemon
