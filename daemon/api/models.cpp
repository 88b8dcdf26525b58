#include "daemon/api/json_writer.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

// An alias is listed as a model of its own whose root is the model.
void append_model(JsonWriter& json, const ModelRow& model, const std::string& name) {
  json.begin_object()
      .member("id", name)
      .member("object", "model")
      .member("created", model.created_unix)
      .member("owned_by", "deepserve")
      .member("root", model.name)
      .member("aliases", model.aliases);
  json.key("max_model_len");
  if (model.facts) {
    json.value(model.facts->context_tokens);
  } else {
    json.value(nullptr);
  }
  json.end_object();
}

}  // namespace

void add_model_routes(Router& router, Serving& serving) {
  router.add("GET", "/v1/models", [&serving](Exchange& exchange, const PathParameters&) {
    HttpResponse response;
    JsonWriter json(response.body);
    json.begin_object().member("object", "list").key("data").begin_list();
    for (const ModelRow& model : serving.models()) {
      if (model.leaves) continue;
      append_model(json, model, model.name);
      for (const std::string& alias : model.aliases) append_model(json, model, alias);
    }
    json.end_list().end_object();
    exchange.respond(std::move(response));
    return nullptr;
  });
  router.add("GET", "/v1/models/{name...}", [&serving](Exchange& exchange, const PathParameters& parameters) {
    const auto model = find_model(serving, parameters[0]);
    if (!model || model->leaves) {
      const Error gone{Code::kModelNotFound, "the model goes: it takes no new requests"};
      exchange.respond(error_response(model ? gone : model.error(), {.param = "model"}));
      return nullptr;
    }
    HttpResponse response;
    JsonWriter json(response.body);
    append_model(json, *model, parameters[0]);
    exchange.respond(std::move(response));
    return nullptr;
  });
}

}  // namespace deepserve::daemon
