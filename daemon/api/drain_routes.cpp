#include "daemon/api/drain_routes.h"

#include <utility>

#include "daemon/api/json_writer.h"
#include "daemon/api/late_responder.h"
#include "daemon/api/model_lookup.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

using What = DrainTarget::What;

HttpResponse drain_response(const DrainTarget& target, std::string_view state) {
  HttpResponse response;
  JsonWriter json(response.body);
  json.begin_object();
  if (target.what == What::kModel) json.member("model", target.name);
  if (target.what == What::kRunner) json.member("runner", target.name);
  json.member("state", state).end_object();
  response.body += '\n';
  return response;
}

// Waits until nothing is left; the drain stays, whoever asked for it.
std::unique_ptr<Responder> drain(Exchange& exchange, Serving& serving, const DrainTarget& target) {
  return std::make_unique<LateResponder>(
      exchange,
      [target](const Result<void>& result) {
        return result ? drain_response(target, "drained") : error_response(result.error());
      },
      [&](LateResponder::Done done) { serving.drain(target, std::move(done)); });
}

// A model may be called by an alias.
Result<DrainTarget> target_of(const Serving& serving, What what, const PathParameters& parameters) {
  if (what == What::kHost) return DrainTarget{};
  if (what == What::kRunner) return DrainTarget{what, parameters[0]};
  TRY_ASSIGN(const auto model, find_model(serving, parameters[0]));
  return DrainTarget{what, model.name};
}

void add(Router& router, Serving& serving, What what, const char* drain_path, const char* resume_path) {
  router.add(
      "POST", drain_path,
      [&serving, what](Exchange& exchange, const PathParameters& parameters) -> std::unique_ptr<Responder> {
        const auto target = target_of(serving, what, parameters);
        if (target) return drain(exchange, serving, *target);
        exchange.respond(error_response(target.error()));
        return nullptr;
      });
  router.add(
      "POST", resume_path,
      [&serving, what](Exchange& exchange, const PathParameters& parameters) -> std::unique_ptr<Responder> {
        const auto target = target_of(serving, what, parameters);
        auto resumed = Result<void>();
        if (target) {
          resumed = serving.resume(*target);
        } else {
          resumed = tl::unexpected<Error>(target.error());
        }
        exchange.respond(resumed ? drain_response(*target, "resumed") : error_response(resumed.error()));
        return nullptr;
      });
}

}  // namespace

void add_drain_routes(Router& router, Serving& serving) {
  add(router, serving, What::kHost, "/ctl/drain", "/ctl/resume");
  add(router, serving, What::kModel, "/ctl/drain/{name...}", "/ctl/resume/{name...}");
  add(router, serving, What::kRunner, "/ctl/runners/{id}/drain", "/ctl/runners/{id}/resume");
}

}  // namespace deepserve::daemon
